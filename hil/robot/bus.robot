*** Settings ***
Documentation    Three boards on one line, in one virtual time.
Resource         node.resource
Suite Setup      Setup
Suite Teardown   Teardown
Test Setup       Reset Emulation
Test Teardown    Test Teardown

*** Test Cases ***
Three Nodes Share A Line
    ${air} =    Create Node    n1    air
    ${water} =    Create Node    n2    water
    ${camera} =    Create Node    n3    camera
    Execute Command    emulation CreateUARTHub "bus"
    Execute Command    connector Connect sysbus.usart2 bus    machine=n1
    Execute Command    connector Connect sysbus.usart2 bus    machine=n2
    Execute Command    connector Connect sysbus.usart2 bus    machine=n3
    ${line1} =    Create Terminal Tester    sysbus.usart2    timeout=10    machine=n1    defaultPauseEmulation=true    binaryMode=true
    ${line2} =    Create Terminal Tester    sysbus.usart2    timeout=10    machine=n2    defaultPauseEmulation=true    binaryMode=true
    ${line3} =    Create Terminal Tester    sysbus.usart2    timeout=10    machine=n3    defaultPauseEmulation=true    binaryMode=true
    Wait For Boot    ${air}
    Wait For Boot    ${water}
    Wait For Boot    ${camera}
    ${frame} =    Read Request    1    4    0    28
    Answers    n1    ${frame}    010438    ${line1}
    ${frame} =    Read Request    2    4    0    24
    Answers    n2    ${frame}    020430    ${line2}
    ${frame} =    Read Request    3    4    0    31
    Answers    n3    ${frame}    03043E    ${line3}
