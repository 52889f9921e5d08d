//! What one turn of a core may cost the others on it: nobody who is always busy starves the rest,
//! and a core does not sleep while it has something to do.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{Actor, CoreId, Cx, Handler, IdleMode, Msg, Node, Ref, protocol};
use ringmesh_proto::archive;
use ringmesh_proto::frame::body::{Ping, Pong};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::HEADER_BYTES;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::messages::{
    Account, ECHO, Echo, EchoApi, Echoer, Parcel, Recall, Record, Sink, SinkApi,
};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::frames::{definitions, target_of};
use ringmesh_tests::live::raw::{RawListener, RawPeer, frames as make};

/// The modes in which a core sleeps.
const SLEEPY: [IdleMode; 2] = [IdleMode::Park, IdleMode::Hybrid(Duration::from_micros(50))];

/// The number of the record that waits at the gate.
const GATE: u64 = 0;

/// What a record takes a [`Toiler`]: with that, every batch of them uses up a turn.
const TOIL: Duration = Duration::from_micros(100);

/// Works on each record for a while, and on one until it is told to go on.
struct Toiler {
    account: Account,
    at_gate: SyncSender<u64>,
    gate: Receiver<()>,
}

impl Actor for Toiler {
    type Api = SinkApi;
}

impl Handler<Record> for Toiler {
    fn handle(&mut self, message: Msg<Record>, _: &mut Cx<'_, Self>) {
        self.account.count += 1;
        if message.number.to_native() == GATE {
            self.at_gate
                .send(self.account.count)
                .expect("the test waits");
            self.gate.recv_timeout(WAIT).expect("the gate opens");
        } else {
            toil(TOIL);
        }
    }
}

impl Handler<Parcel> for Toiler {
    fn handle(&mut self, _: Msg<Parcel>, _: &mut Cx<'_, Self>) {}
}

impl Handler<Recall> for Toiler {
    fn handle(&mut self, _: Msg<Recall>, _: &mut Cx<'_, Self>) -> Account {
        self.account.clone()
    }
}

/// Keeps the CPU busy.
fn toil(span: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < span {
        std::hint::spin_loop();
    }
}

#[test]
fn busy_links_let_a_quiet_one_have_its_turn() {
    const EACH: u64 = 500;
    /// A few turns, of one batch of records each.
    const AHEAD_MAX: u64 = 200;
    let (at_gate, reached) = sync_channel(1);
    let (open, gate) = sync_channel(1);
    let node = LiveNode::start();
    let target = node.run(move |node| async move {
        let toiler = Toiler {
            account: Account::default(),
            at_gate,
            gate,
        };
        target_of(&node.spawn(toiler).expect("room for one more"))
    });
    let [mut first, mut second, mut quiet] = [(); 3].map(|()| RawPeer::link(node.id()));
    quiet.send(&definitions::<Recall>(target));
    let records = |from, to| {
        let each = (from..=to).flat_map(|number| make::tell(&record(number, 8)));
        each.collect::<Vec<u8>>()
    };
    let both = definitions::<Record>(target);
    second.send(&[&both[..], &records(1, 2 * EACH)].concat());
    let (before, behind) = (records(1, EACH / 4), records(1, EACH));
    let gate = make::tell(&record(GATE, 8));
    first.send(&[both, before, gate, behind].concat());
    let before = reached.recv_timeout(WAIT).expect("the gate is reached");
    assert!(before < 2 * EACH, "one busy link starved the other");
    quiet.send(&make::ask(&Recall, 1));
    open.send(()).expect("the toiler waits");

    let reply = quiet.frame_of(Kind::Reply);
    let seen = archive::access::<Account>(&reply.payload).expect("an account");
    let ahead = seen.count.to_native() - before;
    println!("{ahead} records went ahead of the question");
    assert!(ahead <= AHEAD_MAX, "{ahead} records went ahead");
    first.granted(1);
    second.granted(1);
}

/// Tasks that are always ready, each of which works for a while whenever it is polled.
struct Crowd {
    enough: Arc<AtomicBool>,
    polls: Arc<AtomicU64>,
}

impl Crowd {
    /// So many that one poll of each takes four seconds.
    const TASKS: u64 = 4000;
    const TOIL: Duration = Duration::from_millis(1);
    /// Polls in which what else the core has to do must be done.
    const PATIENCE: u64 = Self::TASKS / 3;

    fn start(node: &LiveNode) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let polls = Arc::new(AtomicU64::new(0));
        let crowd = Self {
            enough: Arc::clone(&enough),
            polls: Arc::clone(&polls),
        };
        node.run(move |node| async move {
            for _ in 0..Self::TASKS {
                let (enough, polls) = (Arc::clone(&enough), Arc::clone(&polls));
                node.spawn_task(poll_fn(move |context| {
                    if enough.load(Ordering::Relaxed) {
                        return Poll::Ready(());
                    }
                    polls.fetch_add(1, Ordering::Relaxed);
                    toil(Self::TOIL);
                    context.waker().wake_by_ref();
                    Poll::Pending
                }))
                .expect("room for one more task");
            }
        });
        crowd
    }

    /// Checks that `act` is done long before every task of the crowd had its turn.
    fn lets<R>(&self, what: &str, act: impl FnOnce() -> R) -> R {
        let before = self.polls.load(Ordering::Relaxed);
        let result = act();
        let polls = self.polls.load(Ordering::Relaxed) - before;
        println!("{what}: {polls} polls of {} tasks", Self::TASKS);
        assert!(polls > 0, "the crowd does nothing");
        assert!(polls < Self::PATIENCE, "{what} took {polls} polls");
        result
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
    }
}

#[test]
fn tasks_that_are_always_ready_starve_neither_links_nor_timers() {
    const ROUNDS: u64 = 10;
    // As long as the search below goes on.
    let patience = Duration::from_millis(500);
    let node = LiveNode::start_serving_with(|builder| builder.ask_timeout(patience));
    let (mut peer, echo) = (RawPeer::link(node.id()), node.path(ECHO));
    let target = node.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&echo).await.expect("the echo is there");
        target_of(&echo)
    });
    peer.send(&definitions::<Echo>(target));
    let listener = RawListener::bind();
    let missing = format!("{}/user/missing", listener.address);
    let looking =
        node.begin(move |node| async move { node.resolve::<EchoApi>(&missing).await.is_err() });
    let (dialler, _) = listener.accept();
    let crowd = Crowd::start(&node);

    for number in 0..ROUNDS {
        crowd.lets("a question", || {
            peer.send(&make::ask(&question(number), number));
            peer.frame_of(Kind::Reply);
        });
        crowd.lets("a ping", || {
            let mut ping = [0; 2 * HEADER_BYTES];
            let ping_bytes = Ping { nonce: number }.encode(&mut ping);
            peer.send(&ping[..ping_bytes]);
            let pong = peer.frame_of(Kind::Pong).body(Pong::parse);
            assert_eq!(pong.nonce, number);
        });
    }
    // The end of the connection is seen, and the timer of the next dial, which is due within
    // 100 ms, fires.
    drop(dialler);
    let again = crowd.lets("a back-off", || listener.accept());
    drop((crowd, again, listener));
    assert!(looking.finish(), "nobody answered");
}

#[test]
fn a_core_does_not_sleep_on_the_room_it_gives_itself() {
    const FRAME_BYTES: u32 = 256 << 10;
    const WINDOW_BYTES: u32 = FRAME_BYTES + (64 << 10);
    for idle in SLEEPY {
        let node = LiveNode::start_with(|builder| {
            builder.idle(idle).settings(|settings| {
                settings.frame_bytes_max = FRAME_BYTES;
                settings.window_bytes = WINDOW_BYTES;
            })
        });
        let waited = node.run(|node| async move {
            let sink = node.spawn(Sink::default()).expect("room for one more");
            // Too little to be acknowledged at once, and too much for both to fit the window.
            sink.try_tell(record(1, 70_000)).expect("there is room");
            let begin = Instant::now();
            let large = record(2, 255 << 10);
            sink.try_tell(large.clone())
                .expect_err("the window is full");
            let tell = sink.tell(large).timeout(WAIT / 2);
            tell.await.expect("the core makes room");
            begin.elapsed()
        });
        // Else the core slept until the deadline of the send.
        assert!(waited < WAIT / 4, "{idle:?}: room came after {waited:?}");
    }
}

#[test]
fn a_core_does_not_sleep_while_a_task_is_ready() {
    const YIELDS: u64 = 1000;
    for idle in SLEEPY {
        let node = LiveNode::start_with(|builder| builder.idle(idle));
        let parks = node.run(|node| async move {
            let begin = node.counters().parks;
            for _ in 0..YIELDS {
                yield_once().await;
            }
            node.counters().parks - begin
        });
        assert_eq!(parks, 0, "{idle:?}: slept with a task that was ready");
    }
}

#[test]
fn a_question_on_one_core_takes_two_turns_and_no_sleep() {
    const QUESTIONS: u64 = 1000;
    for idle in [IdleMode::Spin, SLEEPY[0], SLEEPY[1]] {
        let node = LiveNode::start_with(|builder| builder.idle(idle));
        let (turns, enters, parks, span) = node.run(|node| async move {
            let echo = node.spawn(Echoer::default()).expect("room for one more");
            echo.ask(question(0)).await.expect("an answer");
            let (before, begin) = (node.counters(), Instant::now());
            for number in 1..=QUESTIONS {
                let answer = echo.ask(question(number)).await.expect("an answer");
                assert_eq!(answer.number, number);
            }
            let (after, span) = (node.counters(), begin.elapsed());
            (
                after.turns - before.turns,
                after.enters - before.enters,
                after.parks - before.parks,
                span,
            )
        });
        println!("{idle:?}: {turns} turns, {enters} enters, {parks} parks, {span:?}");
        // One that carries the question to the actor, and one that carries the answer back.
        let slack = QUESTIONS / 10;
        assert!(turns <= 2 * QUESTIONS + slack, "{idle:?}: {turns} turns");
        assert_eq!(parks, 0, "{idle:?}: slept on the way");
        // Nothing of it concerns the kernel.
        assert!(enters <= slack, "{idle:?}: {enters} enters");
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_core_that_falls_asleep_misses_no_wake_of_another_thread() {
    const WAKES: u64 = 5000;
    for idle in SLEEPY {
        let node = LiveNode::start_with(|builder| builder.idle(idle));
        let (hand_over, wakers) = sync_channel::<(Waker, Arc<AtomicBool>)>(1);
        let waking = thread::spawn(move || {
            // The pause moves the wake over the whole way into sleep.
            for (number, (waker, woken)) in wakers.iter().enumerate() {
                toil(Duration::from_nanos((number as u64 * 37) % 20_000));
                woken.store(true, Ordering::Release);
                waker.wake();
            }
        });
        node.run(move |_: Node| async move {
            for _ in 0..WAKES {
                wake_from_elsewhere(&hand_over).await;
            }
        });
        waking.join().expect("every waker was used");
    }
}

async fn wake_from_elsewhere(hand_over: &SyncSender<(Waker, Arc<AtomicBool>)>) {
    let woken = Arc::new(AtomicBool::new(false));
    let mut handed_over = false;
    poll_fn(|context| {
        if !std::mem::replace(&mut handed_over, true) {
            let waker = (context.waker().clone(), Arc::clone(&woken));
            hand_over.send(waker).expect("the other thread takes it");
        }
        if woken.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn record(number: u64, body_bytes: usize) -> Record {
    Record {
        number,
        body: vec![0x3c; body_bytes].into(),
    }
}

fn question(number: u64) -> Echo {
    Echo {
        number,
        body: Bytes::from_static(b"beside a crowd"),
    }
}

#[test]
fn what_other_cores_ask_for_is_spread_over_turns() {
    const ERRANDS: usize = 20;
    const PER_TURN: usize = 2;
    let node = LiveNode::start_with(|builder| {
        builder
            .cores(2)
            .settings(|settings| settings.turn_messages_max = 2 * PER_TURN as u32)
    });
    let held = Arc::new(Barrier::new(2));
    let hold = Arc::clone(&held);
    let turns = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&turns);
    node.run(move |node| async move {
        let busy = move |_: Node| async move {
            hold.wait();
            hold.wait();
        };
        node.spawn_task_on(CoreId(1), busy).await.expect("room");
        // Each notes the turn in which the other core begins with it.
        for _ in 0..ERRANDS {
            let (asker, noted) = (node.clone(), Arc::clone(&noted));
            let errand = move |there: Node| {
                let turn = there.counters().turns;
                noted.lock().expect("nobody panicked").push(turn);
                async {}
            };
            let ask = async move { asker.spawn_task_on(CoreId(1), errand).await.expect("room") };
            node.spawn_task(ask).expect("room");
        }
    });
    held.wait();
    // All are on their way when a turn of this core has passed.
    let before = node.counters();
    node.until("a turn", move |now| now.turns > before.turns + 1);
    held.wait();
    let done = Arc::clone(&turns);
    node.until_so("the errands", move |_| {
        done.lock().expect("nobody panicked").len() == ERRANDS
    });
    let turns = turns.lock().expect("nobody panicked");
    let of_one = turns.chunk_by(|one, next| one == next).map(<[u64]>::len);
    assert!(of_one.max() <= Some(PER_TURN), "{turns:?}");
}

/// Wakes whoever waits, for each record.
struct Rouser(Rc<RefCell<Option<Waker>>>);

impl Actor for Rouser {
    type Api = RouserApi;
}

protocol! { RouserApi = "tests.rouser" { Record } }

impl Handler<Record> for Rouser {
    fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {
        self.0.take().into_iter().for_each(Waker::wake);
    }
}

#[test]
fn a_batch_that_ends_within_a_frame_is_not_slow_for_the_task_behind_it() {
    const SLOW: Duration = Duration::from_millis(150);
    let node = LiveNode::start_with(|it| it.settings(|it| it.slow_handler = SLOW));
    let (done, heard) = sync_channel(1);
    let rouser = node.run(|node| async move {
        let waiting = Rc::new(RefCell::new(None));
        let rouser = node.spawn(Rouser(Rc::clone(&waiting))).expect("room");
        let mut is_roused = false;
        // Holds the core in the turn in which it is woken.
        let task = poll_fn(move |context| {
            if std::mem::replace(&mut is_roused, true) {
                toil(2 * SLOW);
                done.send(()).expect("the test waits");
                return Poll::Ready(());
            }
            *waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        });
        node.spawn_task(task).expect("room");
        target_of(&rouser)
    });
    let mut peer = RawPeer::link(node.id());
    let mut bytes = definitions::<Record>(rouser);
    let record = make::tell(&Record {
        number: 1,
        body: Bytes::new(),
    });
    bytes.extend(&record);
    let (first, rest) = record.split_at(record.len() / 2);
    bytes.extend(first);
    peer.send(&bytes);
    // Nothing else is asked of the node meanwhile: another task would have the clock looked at.
    heard.recv_timeout(WAIT).expect("the task ends");
    let books = node.counters();
    assert_eq!((books.received, books.slow_handlers), (1, 0), "{books:#?}");
    peer.send(rest);
    node.until("the rest", |now| now.delivered == 2);
}
