"""The processes that run stages for a sweep: warm, limited, and gone when it is over.

    driver ── importer ── stage server of slot 0 ── what a stage starts
                      └── stage server of slot 1

The driver (`pool`) starts one importer, which imports the libraries and never
computes; it forks a server for each slot, and a new one where one has ended.
"""
