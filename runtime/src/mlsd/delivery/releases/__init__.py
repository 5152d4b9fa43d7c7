"""The ledger of releases and the models they pin."""
