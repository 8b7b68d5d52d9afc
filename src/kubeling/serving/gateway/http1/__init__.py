"""The short way of HTTP/1: requests that are whole go to pods without a framework or a task.

aiohttp serves and asks well, and costs several times a small model's prediction doing both. Here a
client's connection is joined with a kept connection of a pod by plain calls. What needs more than
that (bodies of unknown or great length, WebSockets, graphs, the dashboard) is left to aiohttp,
together with its connection.
"""
