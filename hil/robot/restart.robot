*** Settings ***
Documentation    What a restart keeps: watchdog, record store.
Resource         node.resource
Suite Setup      Setup
Suite Teardown   Teardown
Test Setup       Reset Emulation
Test Teardown    Test Teardown

*** Test Cases ***
Watchdog Restarts A Wedged Node
    ${console} =    Create Node    n1    air
    Wait For Boot    ${console}
    Enter Repl    ${console}
    Write Line To Uart    content=while True: pass    testerId=${console}
    Write Line To Uart    testerId=${console}    waitForEcho=false
    Wait For Boot    ${console}    2

Store Survives A Reset
    ${console} =    Create Node    n1    air
    Wait For Boot    ${console}
    Execute Command    machine Reset    machine=n1
    Wait For Boot    ${console}    2
