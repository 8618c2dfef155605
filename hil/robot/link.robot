*** Settings ***
Documentation    A board whose serial link is switched on. The bytes are those of docs/link.md: a HELLO
...              begins with type 02, zeros, length 0029, version 01, the map of the role air (0101) and
...              its unique id (7F), stuffed.
Resource         node.resource
Suite Setup      Setup
Suite Teardown   Teardown
Test Setup       Reset Emulation
Test Teardown    Test Teardown

*** Test Cases ***
Offers A Session
    ${console} =    Create Node    n1    air    115200
    ${link} =    Listen To Link    n1
    Wait For Boot    ${console}
    # Once a second as long as nobody answers.
    Wait For Bytes On Uart    02020101010629010101    testerId=${link}    timeout=5
    Wait For Bytes On Uart    02020101010629010101    testerId=${link}    timeout=5
