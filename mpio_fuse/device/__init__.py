"""Underpaths, health, running procedures, fencing, the data path: from an open file to SCSI commands."""
