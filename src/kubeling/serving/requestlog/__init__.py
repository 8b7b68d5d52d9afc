"""The request log: what was asked and answered, recorded where a service's ``logger`` says.

A slow or dead place for the log must never slow or kill the server: what does not fit is dropped
and counted. Records go to a folder as JSON lines, to an address as CloudEvents, to a bucket or a
folder as files of batches (JSON, CSV, Parquet), or to the platform's metadata database.
"""
