-- migrate: a migration may take longer than a statement of the service. For this transaction only.
select set_config(name, '0', true) from pg_settings
where name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
