"""The service: durable backtests between Kafka and Postgres. The path of a message, a module a step:

adapters/kafka/source    polls the two input topics, whatever becomes of what it polled
intake                   decodes a batch: schemas says what it is, rules.admission whether it may run
adapters/postgres/journal records it at once, as rules.recording has it; only then are offsets committed
dispatch                 claims the oldest queued runs for free slots, beats for those at work, looks for cancels
execute_run              takes one claimed run to its end, step by step
adapters/engine_pool     a child process simulates: wiring.engine_program, preparation.inputs, the engine
rules.ownership          says who may write its row; rules.endings how it ends; adapters/postgres/endings writes that
outbox_relay             brings events to the broker, each run's in order, until it has them
requests.states          is how a subscriber reads them: `follow`, `submit --wait`, the library
"""
