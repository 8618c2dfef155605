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
    ${line1} =    Listen To Line    n1
    ${line2} =    Listen To Line    n2
    ${line3} =    Listen To Line    n3
    Wait For Boot    ${air}
    Wait For Boot    ${water}
    Wait For Boot    ${camera}
    ${frame} =    Read Request    1    4    0    28
    Answers    ${frame}    010438    ${line1}    ${line2}    ${line3}
    ${frame} =    Read Request    2    4    0    24
    Answers    ${frame}    020430    ${line2}    ${line3}    ${line1}
    ${frame} =    Read Request    3    4    0    31
    Answers    ${frame}    03043E    ${line3}    ${line1}    ${line2}
