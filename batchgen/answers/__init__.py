"""Structured answers: what is asked for, how it is read, what comes next, and the column it becomes.

The engine and the writer use `StructuredAnswers` alone. The other modules are pure functions of texts and values.
"""
