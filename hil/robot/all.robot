*** Settings ***
Documentation    Lets `renode-test hil/robot` of Renode 1.16.1 run this folder.
...
...              It takes whatever ends in "robot" as one suite, and selects from it by
...              "<name of the suite>.<name of the case>". In a folder a case's full name also has
...              its file's name in the middle, so that nothing would be selected, and that would
...              count as success. The name of the case below is a pattern that selects all.
Resource         node.resource
Suite Setup      Setup
Suite Teardown   Teardown
Test Setup       Reset Emulation
Test Teardown    Test Teardown

*** Test Cases ***
?*
    [Documentation]    The image is there, or can be built.
    Image
