// qstrs the port needs that no source file names.
