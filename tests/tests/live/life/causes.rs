//! Failures wherever a supervised actor runs: at a timer's message, and in a handler that answers
//! later.

use std::time::Duration;

use ringmesh::{
    Actor, AskError, Cx, Handler, LaterHandler, Msg, Props, ReplyTo, Supervision, later_handler,
    message, protocol,
};
use ringmesh_tests::live::cores::settled;
use ringmesh_tests::live::node::LiveNode;

use super::{Diary, Entry, Line, begun};

const PAUSE: Duration = Duration::from_millis(1);

/// A question that is kept, or that the handler fails at.
#[message(id = "tests.Plea", v = 1, reply = Mercy)]
struct Plea {
    fails: bool,
}

#[message(id = "tests.Mercy", v = 1)]
struct Mercy;

/// Answers all pleas that are kept.
#[message(id = "tests.Relent", v = 1)]
struct Relent;

protocol! { JudgeApi = "tests.judge" { Plea, Relent, Line } }

/// Has a timer in its first life, at whose message it fails.
struct Judge {
    diary: Diary,
    kept: Vec<ReplyTo<Plea>>,
    is_first: bool,
}

impl Actor for Judge {
    type Api = JudgeApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        if self.is_first {
            cx.after(PAUSE, Line { number: 13 }).expect("room");
        }
    }
}

impl Handler<Line> for Judge {
    fn handle(&mut self, line: Msg<Line>, _: &mut Cx<'_, Self>) {
        self.diary.note(Entry::Line(line.number.to_native()));
        assert!(line.number != 13, "a timer's message");
    }
}

#[later_handler]
impl LaterHandler<Plea> for Judge {
    fn handle(&mut self, plea: Msg<Plea>, reply: ReplyTo<Plea>, _: &mut Cx<'_, Self>) {
        assert!(!plea.fails, "told to by a test");
        self.kept.push(reply);
    }
}

impl Handler<Relent> for Judge {
    fn handle(&mut self, _: Msg<Relent>, _: &mut Cx<'_, Self>) {
        self.kept.drain(..).for_each(|reply| reply.send(Mercy));
    }
}

#[test]
fn failures_at_a_timer_and_before_a_later_answer_begin_a_new_life() {
    let node = LiveNode::start();
    let diary = Diary::default();
    let noted = diary.clone();
    node.run(move |node| async move {
        let lives = std::cell::Cell::new(0);
        let make = move || Judge {
            diary: noted.clone(),
            kept: Vec::new(),
            is_first: lives.replace(lives.get() + 1) == 0,
        };
        let how = Supervision::restart().pauses(PAUSE, PAUSE);
        let judge = node.spawn_props(Props::new(make).supervised(how));
        let judge = judge.expect("room");
        let kept = judge.ask(Plea { fails: false });
        // The one that is kept dies with the life whose timer fails.
        assert_eq!(kept.await.map(drop), Err(AskError::Failed));
        // Of a question that fails at once its asker hears, and so does that of the kept one.
        let failed = judge.ask(Plea { fails: true });
        assert_eq!(failed.await.map(drop), Err(AskError::Failed));
        let spared = begun(judge.ask(Plea { fails: false })).await;
        judge.tell(Relent).await.expect("room");
        judge.tell(Line { number: 7 }).await.expect("room");
        assert!(spared.await.is_ok(), "by its last life");
    });
    diary.until(&node, 1, |entry| *entry == Entry::Line(7));
    assert_eq!(diary.entries(), [13, 7].map(Entry::Line));
    let books = &settled(&[&node])[0];
    assert_eq!((books.failures, books.restarts, books.panics), (2, 2, 2));
}
