"""The engine of the vendors' batch queues: rows into files, files into batches, results back to their rows.

`engine` has the loop. `staging` writes rows into files, `handing_in` uploads these and creates batches from them,
`watching` looks at what is open, `collecting` reads results, `fates` says what becomes of a row that got no answer,
`queue_room` how much fits into the vendor's queue, `deadline` when it is time to ask live, and `live_rows` asks.
`leaving` bounds the calls in flight of a run that is interrupted.
"""
