*** Settings ***
Documentation    Modbus on the line of one board: identification and samples.
Resource         node.resource
Suite Setup      Setup
Suite Teardown   Teardown
Test Setup       Reset Emulation
Test Teardown    Test Teardown

*** Test Cases ***
Tells Its Identification
    ${console} =    Create Node    n1    air
    ${line} =    Listen To Line    n1
    Wait For Boot    ${console}
    ${frame} =    Identification Request    1
    # Code 1, conformity 83, nothing follows, three objects; the first is 11 bytes "tianfu-edge".
    Answers    ${frame}    012B0E0183000003000B7469616E66752D65646765    ${line}

Samples Advance
    ${console} =    Create Node    n1    air
    ${line} =    Listen To Line    n1
    Wait For Boot    ${console}
    Wait Until Keyword Succeeds    30x    0s    Shows A Sample    ${line}    [\\x02-\\x7f]
    Wait Until Keyword Succeeds    30x    0s    Shows A Sample    ${line}    [\\x04-\\x7f]

*** Keywords ***
Shows A Sample
    [Documentation]    An answer: map, version, boot epoch; a number of ${number}; time, status,
    ...    events; qualities, of temperature and humidity good; five values of parts that are not
    ...    there; then what the SHT3x on its bus measures: 25 degrees, 50 %.
    [Arguments]    ${line}    ${number}
    ${frame} =    Read Request    1    4    0    28
    Send Request    ${frame}    ${line}
    ${any} =    Set Variable    [\\x00-\\xff]
    ${head} =    Set Variable    \\x01\\x04\\x38${any}{8}\\x00\\x00\\x00${number}
    ${body} =    Set Variable    ${any}{10}\\x00[\\x00-\\x0f]${any}{10}\\x09\\xc4\\x13\\x88
    Wait For Bytes On Uart    ${head}${body}    testerId=${line}    timeout=1    treatAsRegex=true
