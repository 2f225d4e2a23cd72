"""The command line: one file for each verb, loaded only when it is used."""
