"""The simulated vendor's batch APIs: files and batches in OpenAI's form, and Anthropic's message batches.

What a batch becomes is a function of the time since it was created (`life`), so that nothing has to run while it waits
and a simulator that starts again on the same directory goes on where it was. The rows are answered by the machine that
answers live requests.
"""
