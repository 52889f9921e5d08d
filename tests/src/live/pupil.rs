//! An actor that other nodes may spawn, and does what it is told.

use ringmesh::{Actor, Cx, Deploy, Handler, Msg, Spawnable, message, protocol};

/// What a [`Pupil`] is made of.
#[message(id = "tests.PupilArgs", v = 1)]
#[derive(Clone, Debug)]
pub struct PupilArgs {
    /// What it knows, unless that is a reason not to be made: one that begins with `refuse` or
    /// `panic`.
    pub word: String,
}

/// Something to do: `fail`, `stop`, or to tell the `path`, the `word`, the `core`.
#[message(id = "tests.Lesson", v = 1, reply = Learnt)]
#[derive(Clone, Debug)]
pub struct Lesson {
    /// What.
    pub what: String,
}

/// What came of a [`Lesson`].
#[message(id = "tests.Learnt", v = 1)]
#[derive(Clone, Debug)]
pub struct Learnt {
    /// The answer.
    pub text: String,
    /// How many lessons its state has had.
    pub lessons: u64,
}

protocol! {
    /// That of a [`Pupil`].
    pub PupilApi = "tests.pupil" { Lesson }
}

/// Does what it is told.
#[derive(Debug)]
pub struct Pupil {
    word: String,
    lessons: u64,
}

impl Actor for Pupil {
    type Api = PupilApi;

    fn started(&mut self, _: &mut Cx<'_, Self>) {
        assert!(self.word != "panic at the start", "as it was told");
    }
}

impl Spawnable for Pupil {
    const KEY: &'static str = "tests.pupil";
    type Args = PupilArgs;

    fn make(args: Msg<PupilArgs>) -> Result<Self, String> {
        let word = args.word.to_string();
        assert!(word != "panic", "as it was told");
        if word.starts_with("refuse") {
            return Err(word);
        }
        Ok(Self { word, lessons: 0 })
    }
}

impl Handler<Lesson> for Pupil {
    fn handle(&mut self, lesson: Msg<Lesson>, cx: &mut Cx<'_, Self>) -> Learnt {
        self.lessons += 1;
        let text = match &*lesson.what {
            "fail" => panic!("as it was told"),
            "stop" => {
                cx.stop();
                String::new()
            }
            "path" => cx.path().to_string(),
            "core" => cx.node().core().0.to_string(),
            _ => self.word.clone(),
        };
        let lessons = self.lessons;
        Learnt { text, lessons }
    }
}

/// A pupil that knows a word.
pub fn pupil(word: &str) -> Deploy<Pupil> {
    let word = word.to_owned();
    Deploy::new(PupilArgs { word })
}
