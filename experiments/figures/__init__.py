"""The paper's figures and tables that are no table of training runs: measured, drawn and put beside the paper's numbers."""
