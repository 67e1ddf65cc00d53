"""`trialtree call`: send a table to an endpoint, and print what it predicts.

asked.py         what is asked for
addresses.py     an address or the name of an endpoint, and the key for it
connection.py    requests over one connection: tried again where that helps, every fault one line
described.py     what the endpoint says that its model takes
tables.py        the rows of a file, standard input or a table of a revision
values.py        columns as lists that JSON has
sending.py       the rows, batch by batch, and the answers to them
comparing.py     metrics of predictions against a column
telling.py       what is printed and written
"""
