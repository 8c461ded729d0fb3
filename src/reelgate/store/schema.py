"""Every table, with why it is shaped so. Steps are never changed once released, only added.

Tokens: AUTO_ID is a growing integer key, TEXT_ID a text that sorts by its bytes; `APPEND ONLY t`
makes the database itself refuse UPDATE and DELETE on t. Times are milliseconds, money micro-USD.
"""

_META = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)"

# `posted` and `held` are caches of the ledger; the CHECK is the last word on overspending.
_ACCOUNT = """
CREATE TABLE account (
    id TEXT_ID PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    posted_micro BIGINT NOT NULL DEFAULT 0,
    held_micro BIGINT NOT NULL DEFAULT 0,
    created_at_ms BIGINT NOT NULL,
    CHECK (held_micro >= 0),
    CHECK (posted_micro - held_micro >= 0)
)"""

# Only a digest of the key is kept. Limits are NULL where there is none. `family_id` is the first of
# a line of keys that replaced one another, NULL for one that replaced none.
_API_KEY = """
CREATE TABLE api_key (
    id TEXT_ID PRIMARY KEY,
    account_id TEXT_ID REFERENCES account (id),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    hint TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT,
    revoked_at_ms BIGINT,
    models_json TEXT,
    spend_day_max_micro BIGINT,
    spend_month_max_micro BIGINT,
    spend_total_max_micro BIGINT,
    requests_per_second_max BIGINT,
    tasks_in_flight_max BIGINT,
    family_id TEXT_ID
)"""

# What a key's tasks of one day (of their creation) have cost or still hold, and how many of them
# live. Counted for every key, so that a limit set later is right from its first moment.
_KEY_DAY = """
CREATE TABLE key_day (
    key_id TEXT_ID NOT NULL REFERENCES api_key (id),
    day BIGINT NOT NULL,
    spent_micro BIGINT NOT NULL,
    live BIGINT NOT NULL,
    PRIMARY KEY (key_id, day),
    CHECK (spent_micro >= 0),
    CHECK (live >= 0)
)"""

# `lane` says what an upstream must be able to do: the queue is one queue for each.
_TASK = """
CREATE TABLE task (
    id TEXT_ID PRIMARY KEY,
    account_id TEXT_ID NOT NULL REFERENCES account (id),
    key_id TEXT_ID NOT NULL,
    model TEXT NOT NULL,
    operation TEXT NOT NULL,
    lane TEXT NOT NULL,
    state TEXT NOT NULL,
    epoch BIGINT NOT NULL DEFAULT 0,
    revision BIGINT NOT NULL DEFAULT 0,
    created_at_ms BIGINT NOT NULL,
    due_at_ms BIGINT NOT NULL,
    deadline_at_ms BIGINT NOT NULL,
    held_micro BIGINT NOT NULL,
    progress BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    order_json TEXT NOT NULL,
    terms_json TEXT NOT NULL,
    order_digest TEXT NOT NULL,
    lease_owner TEXT,
    upstream TEXT,
    upstream_ref TEXT,
    upstream_cost_ticks BIGINT,
    result_url TEXT,
    source_json TEXT,
    result_json TEXT,
    bill_json TEXT,
    failure_json TEXT,
    sent_at_ms BIGINT,
    ended_at_ms BIGINT,
    expires_at_ms BIGINT,
    deleted_at_ms BIGINT,
    purged_at_ms BIGINT,
    request_id TEXT
)"""

# Partial indexes keep the work queue as small as the work, however many tasks have ended.
_TASK_INDEXES = (
    "CREATE INDEX task_of_account ON task (account_id, id)",
    (
        "CREATE INDEX task_unsent ON task (lane, due_at_ms, deadline_at_ms) "
        "WHERE state = 'queued' AND lease_owner IS NULL AND ended_at_ms IS NULL"
    ),
    (
        "CREATE INDEX task_unled ON task (due_at_ms) "
        "WHERE state <> 'queued' AND lease_owner IS NULL AND ended_at_ms IS NULL"
    ),
    (
        "CREATE INDEX task_upstream ON task (upstream) "
        "WHERE upstream IS NOT NULL AND state IN ('sending', 'running')"
    ),
    "CREATE INDEX task_leased ON task (lease_owner) WHERE lease_owner IS NOT NULL",
    "CREATE INDEX task_of_ref ON task (upstream_ref) WHERE upstream_ref IS NOT NULL",
    "CREATE INDEX task_stranded ON task (deadline_at_ms) WHERE state = 'stranded'",
    (
        "CREATE INDEX task_kept ON task (expires_at_ms) "
        "WHERE expires_at_ms IS NOT NULL AND purged_at_ms IS NULL"
    ),
    # Ten-minute buckets keep the inserts of a busy moment on a few pages.
    "CREATE INDEX task_repeat ON task ((created_at_ms / 600000), order_digest)",
)

# The history of a task: one row per move after its creation.
_MOVE = """
CREATE TABLE move (
    id AUTO_ID,
    task_id TEXT_ID NOT NULL REFERENCES task (id),
    at_ms BIGINT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    note TEXT NOT NULL
)"""

# One row moves an amount from one book to another, so the books always sum to zero. A customer's
# books are `available` and `held`; the system's are `funding`, `revenue` and `loss`. The balances
# after the row make the statement readable without adding up.
_LEDGER = """
CREATE TABLE ledger (
    id AUTO_ID,
    at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    account_id TEXT_ID REFERENCES account (id),
    task_id TEXT_ID,
    from_book TEXT NOT NULL,
    to_book TEXT NOT NULL,
    amount_micro BIGINT NOT NULL,
    available_after_micro BIGINT,
    held_after_micro BIGINT,
    reference TEXT,
    note TEXT,
    CHECK (amount_micro >= 0),
    CHECK (from_book <> to_book)
)"""

# The primary key is what makes a hold close at most once.
_SETTLEMENT = """
CREATE TABLE settlement (
    task_id TEXT_ID PRIMARY KEY REFERENCES task (id),
    account_id TEXT_ID NOT NULL,
    key_id TEXT_ID NOT NULL,
    model TEXT NOT NULL,
    operation TEXT NOT NULL,
    upstream TEXT,
    outcome TEXT NOT NULL,
    error_code TEXT,
    created_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT NOT NULL,
    held_micro BIGINT NOT NULL,
    captured_micro BIGINT NOT NULL,
    released_micro BIGINT NOT NULL,
    loss_micro BIGINT NOT NULL,
    upstream_cost_ticks BIGINT,
    bill_json TEXT,
    CHECK (captured_micro + released_micro = held_micro)
)"""

_EVENT = """
CREATE TABLE event (
    id TEXT_ID PRIMARY KEY,
    task_id TEXT_ID NOT NULL UNIQUE REFERENCES task (id),
    type TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
)"""

_IDEMPOTENCY = """
CREATE TABLE idempotency (
    account_id TEXT_ID NOT NULL REFERENCES account (id),
    idempotency_key TEXT NOT NULL,
    order_digest TEXT NOT NULL,
    task_id TEXT_ID NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (account_id, idempotency_key)
)"""

# A worker's lease covers all its tasks, so renewing it is one row however many there are.
_WORKER = """
CREATE TABLE worker (
    id TEXT_ID PRIMARY KEY,
    lease_until_ms BIGINT NOT NULL,
    started_at_ms BIGINT NOT NULL
)"""

_UPSTREAM_SWITCH = """
CREATE TABLE upstream_switch (
    name TEXT PRIMARY KEY,
    disabled_at_ms BIGINT NOT NULL,
    note TEXT NOT NULL
)"""

# What is wrong with an upstream, as the node that met it last has seen it.
_UPSTREAM_TROUBLE = """
CREATE TABLE upstream_trouble (
    name TEXT PRIMARY KEY,
    cause TEXT NOT NULL,
    detail TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
)"""

# When the next submit may go to an upstream; shared by all nodes.
_UPSTREAM_PACE = """
CREATE TABLE upstream_pace (
    name TEXT PRIMARY KEY,
    next_us BIGINT NOT NULL
)"""

_AUDIT = """
CREATE TABLE audit (
    id AUTO_ID,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail_json TEXT NOT NULL
)"""

STEPS: tuple[tuple[str, ...], ...] = (
    (
        _META,
        _ACCOUNT,
        _API_KEY,
        "CREATE INDEX api_key_of_account ON api_key (account_id)",
        "CREATE INDEX api_key_of_family ON api_key (family_id) WHERE family_id IS NOT NULL",
        _KEY_DAY,
        _TASK,
        *_TASK_INDEXES,
        _MOVE,
        "CREATE INDEX move_of_task ON move (task_id)",
        _LEDGER,
        "CREATE INDEX ledger_of_account ON ledger (account_id, id)",
        "CREATE INDEX ledger_of_task ON ledger (task_id) WHERE task_id IS NOT NULL",
        (
            "CREATE UNIQUE INDEX ledger_reference ON ledger (account_id, reference) "
            "WHERE reference IS NOT NULL"
        ),
        "APPEND ONLY ledger",
        _SETTLEMENT,
        "CREATE INDEX settlement_of_account ON settlement (account_id, ended_at_ms)",
        "CREATE INDEX settlement_by_time ON settlement (ended_at_ms)",
        _EVENT,
        _IDEMPOTENCY,
        "CREATE INDEX idempotency_age ON idempotency (created_at_ms)",
        _WORKER,
        _UPSTREAM_SWITCH,
        _UPSTREAM_TROUBLE,
        _UPSTREAM_PACE,
        _AUDIT,
        "CREATE INDEX audit_of_subject ON audit (subject, id)",
        "APPEND ONLY audit",
    ),
)
