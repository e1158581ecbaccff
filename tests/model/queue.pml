/*
 * The queue, small enough to be tried in every order: lease, lease epoch, rescue, cancel, drain. In Promela, for SPIN.
 * test_queue_model.py has it checked, docs/job-lifecycle.md says what for. By hand, in a folder of its own:
 *
 *     spin -DFAULTS=3 -a queue.pml && cc -DSAFETY -DNOREDUCE -o pan pan.c && ./pan -E    # looks at every state
 *     spin -DFAULTS=3 -t -T queue.pml                                                    # tells how it got where it is
 *
 * MODELLED. One SQL statement is one step (d_step), and has the name of its file: sql_claim, sql_heartbeat,
 * sql_complete (complete, fail, and cancel by the run), sql_retry, sql_release, sql_rescue, sql_cancel, sql_reopen.
 * A worker never sees a row: it knows what its claim answered and what it was told since. A run is what runs.py does:
 * it works, keeps its outputs, says one verb until that is recorded or refused, looks up a refusal when an answer was
 * lost before it (`_recorded`), and discards the outputs that were not recorded. A worker that lost the answer to a claim
 * looks for what it was given (strays.py), and says release of it.
 *
 * WHAT MAY HAPPEN. A worker takes no step for as long as it likes: SIGSTOP, a pause, a partition; when it goes on it
 * is a zombie. A lease expires at any moment (Clock), so nothing rests on how long one is. A person cancels and
 * reopens, WISHES times. And FAULTS times, in any order: a worker crashes, and another takes its place under an
 * identity of its own; a run is told to stop, or storage is away, and it is released; an answer is lost, that of a
 * claim as well; a request is late: its sender gives it up and goes on, and it arrives when it likes, even after its
 * sender's death.
 *
 * LEFT OUT. Time, with back-off and deadlines. Batches: each row is fenced on its own. More slots than one: two
 * workers stand for two slots. Locks: a statement that waited for a row looks at it again, so each acts at one moment;
 * `cancel`, which then may see nothing, is asked again by its caller. A claim that is late: it is looked for as long as
 * the server lets it run, and then costs an attempt. Quarantine, a kind of fail. Prune. What has no consequence: the
 * table `attempt`, and the rows in `done` of incarnations before.
 *
 * Two witnesses are what this code once did: a run that was handed back although its cancel was accepted left the cancel
 * to a second statement (CANCEL_IS_OWED), and the message through Redis ended a run without a look at Postgres
 * (CANCEL_BY_MESSAGE).
 *
 * INVARIANTS. SPIN prints the name of one that is broken.
 *
 *     a_job_ends_once                          at most one end is accepted, and it stays
 *     no_job_is_lost                           a job is in ready or in done, never in neither
 *     a_job_is_in_one_place                    nor in both
 *     lease_epochs_only_grow                   through all incarnations
 *     the_newest_lease_ends_the_job            the end carries the newest lease epoch ever granted
 *     a_lease_is_granted_to_a_waiting_job      nobody else holds one
 *     a_lease_is_renewed_by_its_own_run        and by no zombie
 *     a_lease_is_handed_back_by_its_own_run    likewise
 *     a_lease_is_taken_back_after_it_expired   and not if it was renewed meanwhile
 *     a_canceled_job_never_succeeds            once its cancel was accepted
 *     only_a_cancel_cancels                    nothing ends as canceled that nobody canceled
 *     event_numbers_have_no_gap                1, 2, 3 ... within an incarnation; the end is the last
 *     attempts_never_exceed_their_maximum      release gives one back, and reopen all of them
 *     an_attempt_is_given_back_once            however often the release is said
 *     outputs_are_those_of_the_accepted_run    what a person sees was kept by the run that was recorded, and is there
 *     an_empty_worker_holds_no_lease           so a drained one leaves none
 *     every_job_ends                           when nobody can do anything more; with FOREVER: under weak fairness
 *
 * WITNESSES. Each makes one mistake that queues have made, and SPIN must find it: they keep the model honest. With
 * ONLY=invariant the search goes on until that one is broken.
 *
 *     FENCE_ON_ATTEMPT          a run is known by its attempt, which is given back and used again
 *     COMPLETE_WITHOUT_EPOCH    complete asks for `state = running` only
 *     HEARTBEAT_WITHOUT_FENCE   a heartbeat names the job, not the lease
 *     RELEASE_WITHOUT_STATE     release asks for the lease epoch only
 *     COMPLETE_FORGETS_CANCEL   complete does not look at cancel_requested_at
 *     RETRY_WITHOUT_COUNT       retry does not look at how many attempts are left
 *     CLAIM_IN_TWO_STEPS        picks, then takes what was picked without another look
 *     RESCUE_IN_TWO_STEPS       finds what has expired, then takes it back without another look
 *     END_IN_TWO_STEPS          deletes from ready, then inserts into done
 *     REOPEN_STARTS_EPOCHS_ANEW each incarnation counts its leases from 1
 *     OUTPUTS_BY_ATTEMPT        outputs lie under a key with the attempt in it
 *     REFUSAL_IS_BELIEVED       a second try that is refused is taken to mean that the first was, too
 *     SLOT_IS_FREED_EARLY       the slot is free before the database has answered
 *     WORKER_BY_NAME            a worker started again under its old name renews what the old one held (with FOREVER)
 *     STRAYS_ARE_LEFT           what a claim took whose answer was lost is left until it expires
 *     CANCEL_IS_OWED            a hand-back, and the cancel that then has to follow, are two statements
 *     CANCEL_BY_MESSAGE         a message that names the job, and not the run, ends a run
 */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef JOBS
#define JOBS 1
#endif
#ifndef MAX_ATTEMPTS
#define MAX_ATTEMPTS 2
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef WISHES
#define WISHES 1
#endif

#define EPOCHS (MAX_ATTEMPTS * (1 + WISHES) + FAULTS)  /* more leases than these are never granted */
#define NOBODY 255                                     /* a worker that died */
#define absent 0

mtype = { queued, running, succeeded, failed, canceled }              /* states of a job */
mtype = { complete, fail, cancel, retry, release }                    /* what a run says at its end */
mtype = { idle, picking, unsure, working, saying, owing, looking, discarding }  /* what a worker does */
mtype = { lost }                                                      /* what a run may be told, besides cancel */

typedef Ready {  /* as `enqueue` leaves it */
  mtype state = queued; byte seq = 1; byte attempt; byte lease_epoch; byte worker; bool expired; bool cancel_requested
}
typedef Done { mtype state; byte seq; byte lease_epoch; byte outputs }
typedef Store { byte writer[EPOCHS + 1] }  /* key -> the lease epoch of the run whose bytes lie there */
typedef Run { bool here; byte job; byte epoch; byte attempt; mtype told }
typedef Request { mtype verb; byte job; byte epoch; byte attempt; byte outputs }

Ready ready[JOBS];
Done done[JOBS];
Store store[JOBS];
Run runs[WORKERS];
Request late;
byte faults = FAULTS;
#ifdef CANCEL_BY_MESSAGE
bool message;  /* under way through Redis */
#endif

/* What only the invariants know. */
byte granted[JOBS];     /* the newest lease epoch */
byte events[JOBS] = 1;  /* of this incarnation */
bool cancel_accepted[JOBS];

bool a_job_ends_once = true, no_job_is_lost = true, a_job_is_in_one_place = true, lease_epochs_only_grow = true,
  the_newest_lease_ends_the_job = true, a_lease_is_granted_to_a_waiting_job = true,
  a_lease_is_renewed_by_its_own_run = true, a_lease_is_handed_back_by_its_own_run = true,
  a_lease_is_taken_back_after_it_expired = true, a_canceled_job_never_succeeds = true, only_a_cancel_cancels = true,
  event_numbers_have_no_gap = true, attempts_never_exceed_their_maximum = true, an_attempt_is_given_back_once = true,
  outputs_are_those_of_the_accepted_run = true, an_empty_worker_holds_no_lease = true, every_job_ends = true;

#ifdef ONLY
inline must(invariant, holds) { invariant = invariant && (holds); assert(ONLY) }
#else
inline must(invariant, holds) { invariant = (holds); assert(invariant) }
#endif


/* The fence: which writes of a run are obeyed. */

#ifdef FENCE_ON_ATTEMPT
#define HOLDS(j, e, a) (ready[j].state == running && ready[j].attempt == a)
#else
#define HOLDS(j, e, a) (ready[j].state == running && ready[j].lease_epoch == e)
#endif

#ifdef COMPLETE_WITHOUT_EPOCH
#define MAY_COMPLETE(j, e, a) (ready[j].state == running)
#else
#define MAY_COMPLETE HOLDS
#endif

#ifdef HEARTBEAT_WITHOUT_FENCE
#define MAY_RENEW(j, e, a) (ready[j].state == running)
#else
#define MAY_RENEW HOLDS
#endif

#ifdef RELEASE_WITHOUT_STATE
#define MAY_RELEASE(j, e, a) (ready[j].state != absent && ready[j].lease_epoch == e)
#else
#define MAY_RELEASE HOLDS
#endif


/* The statements, and their parts. J, E, A: job, lease epoch, attempt. */

/* What is true of a job after each of them. */
inline look(J) {
  must(no_job_is_lost, ready[J].state != absent || done[J].state != absent);
  must(a_job_is_in_one_place, ready[J].state == absent || done[J].state == absent);
  must(attempts_never_exceed_their_maximum, ready[J].attempt <= MAX_ATTEMPTS);
  must(a_canceled_job_never_succeeds, done[J].state != succeeded || !cancel_accepted[J]);
  must(only_a_cancel_cancels, done[J].state != canceled || cancel_accepted[J]);
  must(outputs_are_those_of_the_accepted_run,
       done[J].state != succeeded || store[J].writer[done[J].outputs] == done[J].lease_epoch)
}

inline event(J) {
  ready[J].seq++;
  events[J]++;
  must(event_numbers_have_no_gap, ready[J].seq == events[J])
}

inline delete_ready(J) {
  ready[J].state = absent;
  ready[J].seq = 0;
  ready[J].attempt = 0;
  ready[J].lease_epoch = 0;
  ready[J].worker = 0;
  ready[J].expired = false;
  ready[J].cancel_requested = false
}

/* Deleted from ready and inserted into done. */
inline end(J, how, key) {
  must(a_job_ends_once, done[J].state == absent);
  event(J);
  done[J].state = how;
  done[J].seq = ready[J].seq;
  done[J].lease_epoch = ready[J].lease_epoch;
  done[J].outputs = key;
  printf("  ... and job %d is ", J); printm(done[J].state); printf(", with event %d\n", ready[J].seq);
  delete_ready(J)
}

inline requeue(J) {
  event(J);
  ready[J].state = queued;
  ready[J].worker = 0;
  ready[J].expired = false;
  printf("  ... and job %d is queued, with event %d\n", J, ready[J].seq)
}

#define CLAIMABLE(j) (ready[j].state == queued && !ready[j].cancel_requested)

inline sql_claim(J, who) {
  must(a_lease_is_granted_to_a_waiting_job, ready[J].state == queued);
  event(J);
  ready[J].state = running;
  ready[J].attempt++;
  ready[J].lease_epoch++;
  ready[J].worker = who;
  ready[J].expired = false;
  must(lease_epochs_only_grow, ready[J].lease_epoch > granted[J]);
  granted[J] = ready[J].lease_epoch;
  printf("worker %d claims job %d: lease epoch %d, attempt %d\n", _pid, J, granted[J], ready[J].attempt);
  look(J)
}

inline sql_complete(says, J, E, key, answer) {
  must(the_newest_lease_ends_the_job, E == granted[J]);
  if
#ifndef COMPLETE_FORGETS_CANCEL
  :: ready[J].cancel_requested -> answer = canceled
#endif
  :: else ->
    if
    :: says == complete -> answer = succeeded
    :: says == fail -> answer = failed
    :: says == cancel -> answer = canceled
    fi
  fi;
  if
  :: answer == succeeded -> end(J, answer, key)
  :: else -> end(J, answer, 0)
  fi
}

inline hand_back(J, E, answer) {
  must(a_lease_is_handed_back_by_its_own_run, E == granted[J]);
  if
#ifndef CANCEL_IS_OWED
  :: ready[J].cancel_requested -> end(J, canceled, 0); answer = canceled
#endif
  :: else -> requeue(J); answer = queued
  fi
}

inline sql_retry(J, E, answer) {
  if
#ifndef RETRY_WITHOUT_COUNT
  :: ready[J].attempt >= MAX_ATTEMPTS && !ready[J].cancel_requested ->
    must(the_newest_lease_ends_the_job, E == granted[J]);
    end(J, failed, 0); answer = failed
#endif
  :: else -> hand_back(J, E, answer)
  fi
}

inline sql_release(J, E, answer) {
  must(an_attempt_is_given_back_once, ready[J].state == running && ready[J].attempt > 0);
  ready[J].attempt--;
  hand_back(J, E, answer)
}

/* What a run says at its end. The answer is how the job stands now, or absent: refused. */
inline say(says, J, E, A, key, answer) {
  answer = absent;
  printm(says); printf(" of job %d by the run with lease epoch %d, attempt %d\n", J, E, A);
  if
  :: (says == complete || says == fail || says == cancel) && MAY_COMPLETE(J, E, A) ->
    sql_complete(says, J, E, key, answer)
  :: says == retry && HOLDS(J, E, A) -> sql_retry(J, E, answer)
  :: says == release && MAY_RELEASE(J, E, A) -> sql_release(J, E, answer)
  :: else -> printf("  ... is refused\n")
  fi;
  look(J)
}

inline sql_heartbeat(W) {
  if
  :: MAY_RENEW(runs[W].job, runs[W].epoch, runs[W].attempt) ->
    printf("worker %d renews the lease of job %d, which it holds with epoch %d\n", W, runs[W].job, runs[W].epoch);
    must(a_lease_is_renewed_by_its_own_run, runs[W].epoch == granted[runs[W].job]);
    ready[runs[W].job].expired = false;
    if
    :: ready[runs[W].job].cancel_requested -> runs[W].told = cancel; printf("  ... and is told to cancel\n")
    :: else
    fi
  :: else -> runs[W].told = lost; printf("worker %d hears that its lease of job %d is lost\n", W, runs[W].job)
  fi
}

#define EXPIRED(j) (ready[j].state == running && ready[j].expired)

/* `spent`, `unwanted`: whether its attempts are used up, and whether its cancel was accepted. */
inline sql_rescue(J, spent, unwanted) {
  printf("job %d is rescued\n", J);
  must(a_lease_is_taken_back_after_it_expired, EXPIRED(J));
  if
  :: unwanted -> end(J, canceled, 0)
  :: spent && !unwanted -> end(J, failed, 0)
  :: else -> requeue(J)
  fi;
  look(J)
}

inline sql_cancel(J) {
  printf("job %d is to be canceled\n", J);
  if
  :: ready[J].state == queued -> cancel_accepted[J] = true; end(J, canceled, 0)
  :: ready[J].state == running ->
    cancel_accepted[J] = true;
    ready[J].cancel_requested = true;
#ifdef CANCEL_BY_MESSAGE
    message = true
#endif
  :: else
  fi;
  look(J)
}

/* The row in done stays, in reality; it is of an incarnation before. */
inline sql_reopen(J) {
  ready[J].state = queued;
  ready[J].seq = 1;
#ifndef REOPEN_STARTS_EPOCHS_ANEW
  ready[J].lease_epoch = done[J].lease_epoch;
#endif
  done[J].state = absent;
  done[J].seq = 0;
  done[J].lease_epoch = 0;
  done[J].outputs = 0;
  events[J] = 1;
  cancel_accepted[J] = false;
  printf("job %d is reopened\n", J);
  look(J)
}


/* A worker and its run. */

#define ME (_pid + 1)  /* in a row; 0 is none */
#define MY runs[_pid]

#ifdef OUTPUTS_BY_ATTEMPT
#define KEY MY.attempt
#else
#define KEY MY.epoch
#endif

#if JOBS > 1
#define HOLDS_A_LEASE(who) (ready[0].worker == who || ready[1].worker == who)
#else
#define HOLDS_A_LEASE(who) (ready[0].worker == who)
#endif

inline begin(J) {
  MY.here = true;
  MY.job = J;
  MY.epoch = ready[J].lease_epoch;
  MY.attempt = ready[J].attempt;
  phase = working
}

inline forget() {
  MY.here = false;
  MY.job = 0;
  MY.epoch = 0;
  MY.attempt = 0;
  MY.told = absent;
  verb = absent;
  answer = absent;
  doubtful = false;
  phase = idle
}

/* The slot is free. */
inline over() {
  forget();
  printf("worker %d is free\n", _pid);
  must(an_empty_worker_holds_no_lease, !HOLDS_A_LEASE(ME))
}

inline answered() {
  if
#ifndef REFUSAL_IS_BELIEVED
  :: answer == absent && doubtful && phase == saying -> phase = looking
#endif
#ifdef CANCEL_IS_OWED
  :: answer == queued && ready[MY.job].cancel_requested -> phase = owing
#endif
  :: else ->
    if
    :: verb == complete && answer != succeeded -> phase = discarding
    :: else -> over()
    fi
  fi
}

inline orphan(J) {
  if
  :: ready[J].worker == ME -> ready[J].worker = NOBODY
  :: else
  fi
}

inline crash() {
  printf("worker %d crashes\n", _pid);
#ifndef WORKER_BY_NAME
  orphan(0);
#if JOBS > 1
  orphan(1);
#endif
#endif
  forget()
}

active [WORKERS] proctype Worker() {
  mtype phase = idle, verb, answer;
  bool doubtful;

  do
#ifndef CLAIM_IN_TWO_STEPS
  :: d_step { phase == idle && CLAIMABLE(0) -> sql_claim(0, ME); begin(0) }
#if JOBS > 1
  :: d_step { phase == idle && CLAIMABLE(1) -> sql_claim(1, ME); begin(1) }
#endif
#else
  :: d_step { phase == idle && CLAIMABLE(0) -> phase = picking; printf("worker %d picks job 0\n", _pid) }
  :: d_step { phase == picking -> sql_claim(0, ME); begin(0) }
#endif
  :: d_step { phase == idle && CLAIMABLE(0) && faults > 0 ->
      faults--;
      sql_claim(0, ME);
      printf("  ... and never hears of it\n");
#ifndef STRAYS_ARE_LEFT
      phase = unsure
#else
      over()
#endif
    }
  /* It finds what it was given, unless that was taken back meanwhile, and says `release` of it like a run. */
  :: d_step { phase == unsure ->
      if
      :: ready[0].worker == ME ->
        printf("worker %d finds that it holds job 0\n", _pid);
        begin(0);
        MY.here = false;
        verb = release; phase = saying
      :: else -> over()
      fi
    }

  /* The work, and what it comes to. */
  :: d_step { phase == working ->
      store[MY.job].writer[KEY] = MY.epoch;
      printf("worker %d keeps the outputs of lease epoch %d\n", _pid, MY.epoch);
      look(MY.job);
      verb = complete; phase = saying
    }
  :: d_step { phase == working -> verb = fail; phase = saying }
  :: d_step { phase == working -> verb = retry; phase = saying }
  :: d_step { phase == working && faults > 0 -> faults--; verb = release; phase = saying }
  :: d_step { phase == working && MY.told == cancel -> verb = cancel; phase = saying }
  :: d_step { phase == working && MY.told == lost -> phase = discarding }

  /* The verb is said until it is answered; an answer may be lost, and a request late. */
  :: d_step { phase == saying -> say(verb, MY.job, MY.epoch, MY.attempt, KEY, answer); answered() }
  :: d_step { phase == saying && faults > 0 ->
      faults--;
      say(verb, MY.job, MY.epoch, MY.attempt, KEY, answer);
      printf("  ... and the answer is lost\n");
      answer = absent; doubtful = true
    }
  :: d_step { phase == saying && faults > 0 && late.verb == absent ->
      faults--;
      printm(verb); printf(" of job %d by worker %d is late\n", MY.job, _pid);
      late.verb = verb; late.job = MY.job; late.epoch = MY.epoch; late.attempt = MY.attempt; late.outputs = KEY;
#ifndef SLOT_IS_FREED_EARLY
      doubtful = true
#else
      over()
#endif
    }
#ifdef END_IN_TWO_STEPS
  :: d_step { phase == saying && verb == complete && HOLDS(MY.job, MY.epoch, MY.attempt) ->
      printf("worker %d deletes job %d from ready\n", _pid, MY.job);
      delete_ready(MY.job);
      look(MY.job)
    }
#endif
#ifdef CANCEL_IS_OWED
  :: d_step { phase == owing -> sql_cancel(MY.job); over() }
#endif

  /* Refused, but an answer was lost before: the job itself tells whether it is the end of this run. */
  :: d_step { phase == looking ->
      if
      :: done[MY.job].state != absent && done[MY.job].lease_epoch == MY.epoch -> answer = done[MY.job].state
      :: else
      fi;
      answered()
    }

  /* Outputs that nobody will ever see. */
  :: d_step { phase == discarding ->
      store[MY.job].writer[KEY] = 0;
      printf("worker %d discards the outputs of lease epoch %d\n", _pid, MY.epoch);
      look(MY.job);
      over()
    }

  :: d_step { phase != idle && faults > 0 -> faults--; crash() }
  od
}


/* Everybody else. */

#define MINE (_pid - WORKERS)
#define REOPENABLE(j) (done[j].state == failed || done[j].state == canceled)

active [JOBS] proctype Person() {  /* comes second, so that its number tells which job is its own */
  byte wishes = WISHES;
  do
  :: d_step { wishes > 0 && done[MINE].state == absent -> wishes--; sql_cancel(MINE) }
  :: d_step { wishes > 0 && REOPENABLE(MINE) -> wishes--; sql_reopen(MINE) }
  :: d_step { wishes > 0 -> wishes = 0 }
  od
}

inline forget_request() { late.verb = absent; late.job = 0; late.epoch = 0; late.attempt = 0; late.outputs = 0 }

active proctype Network() {  /* what is late arrives, or does not */
  mtype answer;
  do
  :: d_step { late.verb != absent ->
      printf("late: ");
      say(late.verb, late.job, late.epoch, late.attempt, late.outputs, answer);
      answer = absent;
      forget_request()
    }
  :: d_step { late.verb != absent -> forget_request() }
  od
}

/* A heartbeat that would change nothing is no step. */
#define BEATS(w) (runs[w].here && runs[w].told != lost && \
  (!MAY_RENEW(runs[w].job, runs[w].epoch, runs[w].attempt) || EXPIRED(runs[w].job) || \
   (ready[runs[w].job].cancel_requested && runs[w].told == absent)))

#ifdef CANCEL_BY_MESSAGE
inline stop(W) {
  message = false;
  runs[W].told = cancel;
  printf("worker %d hears from Redis: cancel job %d\n", W, runs[W].job)
}
#endif

#ifdef WORKER_BY_NAME
#define BEATS_BY_NAME(w) (EXPIRED(0) && ready[0].worker == w + 1)

inline heartbeat_by_name(W) {
  ready[0].expired = false;
  printf("worker %d renews the lease of job 0, which bears its name\n", W)
}
#endif

active proctype Heartbeats() {
  do
#ifndef WORKER_BY_NAME
  :: d_step { BEATS(0) -> sql_heartbeat(0) }
  :: d_step { BEATS(1) -> sql_heartbeat(1) }
#if WORKERS > 2
  :: d_step { BEATS(2) -> sql_heartbeat(2) }
#endif
#else
  :: d_step { BEATS_BY_NAME(0) -> heartbeat_by_name(0) }
  :: d_step { BEATS_BY_NAME(1) -> heartbeat_by_name(1) }
#endif
#ifdef CANCEL_BY_MESSAGE
  :: d_step { message && runs[0].here -> stop(0) }
  :: d_step { message && runs[1].here -> stop(1) }
#endif
  od
}

inline expire(J) { ready[J].expired = true; printf("the lease of job %d expires\n", J) }

active proctype Clock() {
  do
  :: d_step { ready[0].state == running && !ready[0].expired -> expire(0) }
#if JOBS > 1
  :: d_step { ready[1].state == running && !ready[1].expired -> expire(1) }
#endif
  od
}

#define SPENT(j) (ready[j].attempt >= MAX_ATTEMPTS)
#define UNWANTED(j) (ready[j].cancel_requested)

active proctype Rescuer() {
#ifndef RESCUE_IN_TWO_STEPS
  do
  :: d_step { EXPIRED(0) -> sql_rescue(0, SPENT(0), UNWANTED(0)) }
#if JOBS > 1
  :: d_step { EXPIRED(1) -> sql_rescue(1, SPENT(1), UNWANTED(1)) }
#endif
  od
#else
  bool spent, unwanted;
  byte seq;
  do
  :: d_step { EXPIRED(0) ->
      spent = SPENT(0); unwanted = UNWANTED(0); seq = ready[0].seq;
      printf("job 0 is found, with an expired lease\n")
    };
    d_step { ready[0].seq = seq; sql_rescue(0, spent, unwanted) }
  od
#endif
}

#if JOBS > 1
#define ALL_HAVE_ENDED (done[0].state != absent && done[1].state != absent)
#else
#define ALL_HAVE_ENDED (done[0].state != absent)
#endif

active proctype Evening() {
  timeout -> must(every_job_ends, ALL_HAVE_ENDED)
}

#ifdef FOREVER
ltl every_job_ends_forever { <> [] ALL_HAVE_ENDED }
#endif
