"""One module for each verb of the command: `main(words) -> exit status`, imported only when it is used."""
