"""What people do to Workflows: submit, retry, resubmit, stop, resume, set.

Pure functions of the objects, so that the command line, the Argo Server API and the dashboard mean
the same by each; :mod:`.operator` carries them out over a client.
"""
