"""What keeps the queue healthy, one service a file, `run_once` each; every processor runs them.

admitter    jobs that had to wait for room are let in
batches     batches that have no job left to run are ended
registrar   says that this processor lives, and how long its runs take
rescuer     runs whose lease has expired go back to the queue
pruner      jobs that ended long ago are forgotten, and their bytes
partitioner the days of history to come
sweeper     bytes that no job refers to
gauges      what waits and what runs, for the dashboards
horizon     what holds back vacuum
"""
