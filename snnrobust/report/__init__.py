"""Reports: tables for the terminal, figures, one self-contained HTML page."""
