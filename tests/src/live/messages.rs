//! The messages and actors that the live tests send to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use ringmesh::{Actor, Cx, Handler, Msg, message, protocol, wire};

/// The name under which [`Echoer`] is spawned.
pub const ECHO: &str = "echo";

/// The topic that a process subscribes to which is told to.
pub const RECORDS: &str = "tests.records";

/// The name under which [`Sink`] is spawned.
pub const SINK: &str = "sink";

/// A question that is answered with its own content.
#[message(id = "tests.Echo", v = 1, reply = Echoed)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Comes back.
    pub number: u64,
    /// Comes back too.
    pub body: Bytes,
}

/// The answer to an [`Echo`].
#[message(id = "tests.Echoed", v = 1)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echoed {
    /// The number of the question.
    pub number: u64,
    /// The body of the question.
    pub body: Bytes,
}

/// Makes the handler panic.
#[message(id = "tests.Ignite", v = 1, reply = Echoed)]
#[derive(Clone, Debug)]
pub struct Ignite;

/// Asks for an answer of so many bytes.
#[message(id = "tests.Inflate", v = 1, reply = Echoed)]
#[derive(Clone, Debug)]
pub struct Inflate {
    /// The length of the answer's body, in bytes.
    pub body_bytes: u32,
}

/// Stops the actor in order.
#[message(id = "tests.Retire", v = 1)]
#[derive(Clone, Debug)]
pub struct Retire;

/// A message that is counted by the [`Sink`].
#[message(id = "tests.Record", v = 1)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Counts up from the first record of a test.
    pub number: u64,
    /// Anything.
    pub body: Bytes,
}

/// A message with every shape that a hostile archive can bend: a text, a vector, an option, an
/// enum, a flag and a character.
#[message(id = "tests.Parcel", v = 1)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// A text that does not fit in the root.
    pub label: String,
    /// A vector of numbers.
    pub weights: Vec<u32>,
    /// An option with out-of-line data.
    pub note: Option<String>,
    /// An enum with data.
    pub content: Content,
    /// A byte of two values.
    pub fragile: bool,
    /// Four bytes, not all of whose values are characters.
    pub letter: char,
}

/// What is in a [`Parcel`].
#[wire]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Empty,
    /// Numbers.
    Books(Vec<u64>),
    /// A text.
    Letter(String),
}

/// Asks the [`Sink`] for what it saw.
#[message(id = "tests.Recall", v = 1, reply = Account)]
#[derive(Clone, Debug)]
pub struct Recall;

/// What a [`Sink`] saw. The same messages in the same order make the same account.
#[message(id = "tests.Account", v = 1)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Records and parcels.
    pub count: u64,
    /// The lowest number of a record; 0 when there is none.
    pub lowest: u64,
    /// The highest number of a record.
    pub highest: u64,
    /// Records whose number was not above the one before.
    pub out_of_order: u64,
    /// A checksum over all content, in order.
    pub digest: u32,
}

impl Account {
    /// Adds a record.
    pub fn note_record(&mut self, number: u64, body: &[u8]) {
        if self.count > 0 && number <= self.highest {
            self.out_of_order += 1;
        }
        self.lowest = if self.count == 0 {
            number
        } else {
            self.lowest.min(number)
        };
        self.highest = self.highest.max(number);
        self.note(&number.to_le_bytes());
        self.note(body);
        self.count += 1;
    }

    /// Adds a parcel, as it prints.
    pub fn note_parcel(&mut self, printed: &str) {
        self.note(printed.as_bytes());
        self.count += 1;
    }

    fn note(&mut self, bytes: &[u8]) {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.digest);
        hasher.update(bytes);
        self.digest = hasher.finalize();
    }
}

protocol! {
    /// Answers, panics or stops.
    pub EchoApi = "tests.echo" { Echo, Ignite, Inflate, Retire }
}

protocol! {
    /// Counts.
    pub SinkApi = "tests.sink" { Record, Parcel, Recall }
}

/// A count of handled messages that outlives its process: it stands in a file, written by each
/// handler before it returns, so that it is true even after SIGKILL.
#[derive(Debug)]
pub struct Tally {
    file: File,
    count: u64,
}

impl Tally {
    /// A tally at `path`, which starts at zero.
    ///
    /// # Errors
    /// The error of making the file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        file.write_all_at(&0_u64.to_le_bytes(), 0)?;
        Ok(Self { file, count: 0 })
    }

    /// Reads the count that a process left at `path`.
    ///
    /// # Errors
    /// The error of reading the file.
    pub fn read(path: &Path) -> io::Result<u64> {
        let mut bytes = [0; 8];
        File::open(path)?.read_exact_at(&mut bytes, 0)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn note(&mut self) {
        self.count += 1;
        let written = self.file.write_all_at(&self.count.to_le_bytes(), 0);
        written.expect("a page of the tally's file is there");
    }
}

/// Answers with what it was asked.
#[derive(Debug, Default)]
pub struct Echoer {
    /// Where each handled message is noted.
    pub tally: Option<Tally>,
}

impl Actor for Echoer {
    type Api = EchoApi;
}

impl Handler<Echo> for Echoer {
    fn handle(&mut self, message: Msg<Echo>, _: &mut Cx<'_, Self>) -> Echoed {
        if let Some(tally) = &mut self.tally {
            tally.note();
        }
        Echoed {
            number: message.number.to_native(),
            body: Bytes::copy_from_slice(&message.body),
        }
    }
}

impl Handler<Ignite> for Echoer {
    fn handle(&mut self, _: Msg<Ignite>, _: &mut Cx<'_, Self>) -> Echoed {
        panic!("{PANIC}");
    }
}

impl Handler<Inflate> for Echoer {
    fn handle(&mut self, message: Msg<Inflate>, _: &mut Cx<'_, Self>) -> Echoed {
        let body = vec![0; message.body_bytes.to_native() as usize];
        Echoed {
            number: 0,
            body: body.into(),
        }
    }
}

impl Handler<Retire> for Echoer {
    fn handle(&mut self, _: Msg<Retire>, cx: &mut Cx<'_, Self>) {
        cx.stop();
    }
}

/// What an ignited handler says.
pub const PANIC: &str = "ignited by a test";

/// Keeps an account of what arrives.
#[derive(Debug, Default)]
pub struct Sink {
    /// What arrived.
    pub account: Account,
    /// Where each handled message is noted.
    pub tally: Option<Tally>,
}

impl Sink {
    fn note(&mut self) {
        if let Some(tally) = &mut self.tally {
            tally.note();
        }
    }
}

impl Actor for Sink {
    type Api = SinkApi;
}

impl Handler<Record> for Sink {
    fn handle(&mut self, message: Msg<Record>, _: &mut Cx<'_, Self>) {
        self.account
            .note_record(message.number.to_native(), &message.body);
        self.note();
    }
}

impl Handler<Parcel> for Sink {
    fn handle(&mut self, message: Msg<Parcel>, _: &mut Cx<'_, Self>) {
        // Every byte is read, so that one the validation should have refused is noticed here.
        let parcel = message.deserialize();
        self.account.note_parcel(&format!("{parcel:?}"));
        self.note();
    }
}

impl Handler<Recall> for Sink {
    fn handle(&mut self, _: Msg<Recall>, _: &mut Cx<'_, Self>) -> Account {
        self.account.clone()
    }
}

/// The same names with other content: what a program of another version would send.
pub mod foreign {
    use super::{Bytes, Echoed, message, protocol};

    /// `tests.Echo` with another field.
    #[message(id = "tests.Echo", v = 1, reply = Echoed)]
    #[derive(Clone, Debug)]
    pub struct Echo {
        /// Narrower than at the other side.
        pub number: u32,
        /// As at the other side.
        pub body: Bytes,
    }

    /// `tests.Record` of another version with the same fields.
    #[message(id = "tests.Record", v = 2)]
    #[derive(Clone, Debug)]
    pub struct Record {
        /// As at the other side.
        pub number: u64,
        /// As at the other side.
        pub body: Bytes,
    }

    /// A message that the other side has never heard of.
    #[message(id = "tests.Unheard", v = 1, reply = Echoed)]
    #[derive(Clone, Debug)]
    pub struct Unheard;

    protocol! {
        /// `tests.echo` as another version of the program knows it.
        pub EchoApi = "tests.echo" { Echo, Unheard }
    }

    protocol! {
        /// `tests.sink` as another version of the program knows it.
        pub SinkApi = "tests.sink" { Record, Unheard }
    }
}
