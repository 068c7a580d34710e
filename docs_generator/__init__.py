"""Writes the pages and pictures of docs/ that are made from the code: `make docs`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
