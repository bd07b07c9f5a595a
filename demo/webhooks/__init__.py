"""Real webhooks through the three promises, while their workers and senders are being killed.

`python -m webhooks` runs it. Only `sender` and `worker` import Onceward: the supervisor, which kills them, and the
auditor, which judges what is left, know it from the outside only.
"""
