*** Settings ***
Documentation    Boot and REPL of one board.
Resource         node.resource
Suite Setup      Setup
Suite Teardown   Teardown
Test Setup       Reset Emulation
Test Teardown    Test Teardown

*** Test Cases ***
Boots
    ${console} =    Create Node    n1    air
    Wait For Boot    ${console}

Repl Answers
    ${console} =    Create Node    n1    air
    Wait For Boot    ${console}
    Enter Repl    ${console}
    Write Line To Uart    content=print(6*7)    testerId=${console}
    Wait For Line On Uart    42    testerId=${console}
