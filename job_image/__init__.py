"""The program inside the container: fetch, upload, verify, record, announce, release."""
