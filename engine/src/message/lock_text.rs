//! The text of a `messages.lock`: sorted blocks of lines, one per message and one per part.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ringmesh_proto::fingerprint::FORMAT_FINGERPRINT;
use ringmesh_proto::shape::{Field, Layout, MessageShape, Part, Shape};

const HEAD: &str = "\
# The layouts of this crate's messages as they were released; `assert_messages_locked!` holds them.
# When one changed: count its version up, then `UPDATE_MESSAGES_LOCK=1 cargo test`.
";

/// Names that a part cannot have alone, because they mean something else in a type.
const TAKEN: [&str; 21] = [
    "u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "f32", "f64", "bool",
    "char", "str", "String", "Box", "Vec", "Option", "Ref", "_",
];

/// What decides in a lock file.
#[derive(Debug, Default)]
pub(super) struct Locked {
    pub(super) format: Option<String>,
    /// By name and version.
    pub(super) messages: BTreeMap<(String, u32), LockedMessage>,
}

/// One message of a lock file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LockedMessage {
    pub(super) fingerprint: String,
    /// The name of its reply, without the version.
    pub(super) reply: Option<String>,
}

/// Reads what [`render`] wrote. What it does not understand it leaves out: then the texts differ,
/// and that is reported.
pub(super) fn parse(text: &str) -> Locked {
    let mut locked = Locked::default();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(format) = line.strip_prefix("format ") {
            locked.format = Some(format.to_owned());
            continue;
        }
        // Only messages have a fingerprint below their name.
        let below = lines
            .peek()
            .and_then(|below| below.strip_prefix("  layout "));
        if let Some(fingerprint) = below
            && let Some((key, reply)) = parse_head(line)
        {
            let fingerprint = fingerprint.to_owned();
            locked
                .messages
                .insert(key, LockedMessage { fingerprint, reply });
        }
    }
    locked
}

/// `demo.Hello v1 reply demo.Greeting v1`.
fn parse_head(line: &str) -> Option<((String, u32), Option<String>)> {
    let mut words = line.split(' ');
    let name = words.next()?.to_owned();
    let version = words.next()?.strip_prefix('v')?.parse().ok()?;
    let reply = match words.next() {
        Some("reply") => Some(words.next()?.to_owned()),
        _ => None,
    };
    Some(((name, version), reply))
}

/// The file for the messages of `protocols`.
///
/// # Errors
/// When two messages have one name and version, and different layouts or replies.
pub(super) fn render(protocols: &[&[MessageShape]]) -> Result<String, String> {
    let mut collected = Collected::default();
    for message in protocols.iter().copied().flatten() {
        collected.message(*message)?;
    }
    let labels = Labels::of(&collected.parts);
    let mut blocks = Vec::new();
    for message in collected.messages.values() {
        blocks.push(labels.message(message));
    }
    let mut parts: Vec<String> = collected
        .parts
        .iter()
        .map(|part| labels.part(part))
        .collect();
    parts.sort();
    blocks.append(&mut parts);
    let blocks = blocks.join("\n");
    Ok(format!(
        "{HEAD}\nformat {FORMAT_FINGERPRINT:016x}\n\n{blocks}"
    ))
}

/// All messages and parts, each once.
#[derive(Default)]
struct Collected {
    messages: BTreeMap<(&'static str, u32), MessageShape>,
    parts: Vec<&'static Part>,
}

impl Collected {
    fn message(&mut self, message: MessageShape) -> Result<(), String> {
        let key = (message.name, message.version);
        let reply = (message.reply)();
        if let Some(known) = self.messages.get(&key) {
            let same = known.fingerprint == message.fingerprint
                && name_of(&(known.reply)()) == name_of(&reply);
            return if same {
                Ok(())
            } else {
                Err(format!(
                    "two different messages are called {} v{}",
                    message.name, message.version
                ))
            };
        }
        self.messages.insert(key, message);
        match message.shape {
            // The message itself is no part, unless another one contains it.
            Shape::Part(part) => self.layout(&part.layout),
            shape => self.shape(shape),
        }
        for older in message.older {
            self.message(*older)?;
        }
        reply.map_or(Ok(()), |reply| self.message(reply))
    }

    fn shape(&mut self, shape: &'static Shape) {
        match shape {
            Shape::Option(element)
            | Shape::Vec(element)
            | Shape::BoxedSlice(element)
            | Shape::Array(element, _) => self.shape(element),
            Shape::Tuple(elements) => elements.iter().for_each(|element| self.shape(element)),
            Shape::Part(part) if !self.parts.contains(part) => {
                self.parts.push(part);
                self.layout(&part.layout);
            }
            _ => {}
        }
    }

    fn layout(&mut self, layout: &'static Layout) {
        match layout {
            Layout::Structure(fields) => self.fields(fields),
            Layout::Enumeration(variants) => {
                variants
                    .iter()
                    .for_each(|variant| self.fields(variant.fields));
            }
        }
    }

    fn fields(&mut self, fields: &'static [Field]) {
        fields.iter().for_each(|field| self.shape(field.shape));
    }
}

fn name_of(message: &Option<MessageShape>) -> Option<(&'static str, u32)> {
    message.map(|message| (message.name, message.version))
}

/// How parts are called: by their name, or by their path where the name alone would not do.
struct Labels {
    /// How many parts have the name.
    uses: BTreeMap<&'static str, usize>,
}

impl Labels {
    fn of(parts: &[&'static Part]) -> Self {
        let mut uses: BTreeMap<_, usize> = TAKEN.iter().map(|name| (*name, 1)).collect();
        for part in parts {
            *uses.entry(part.name).or_default() += 1;
        }
        Self { uses }
    }

    fn label(&self, part: &Part) -> String {
        if self.uses.get(part.name).is_some_and(|uses| *uses > 1) {
            format!("{}::{}", part.module, part.name)
        } else {
            part.name.to_owned()
        }
    }

    fn message(&self, message: &MessageShape) -> String {
        let mut block = format!("{} v{}", message.name, message.version);
        // Writing to a string does not fail.
        if let Some((name, version)) = name_of(&(message.reply)()) {
            let _ = write!(block, " reply {name} v{version}");
        }
        let _ = writeln!(block, "\n  layout {:016x}", message.fingerprint);
        match message.shape {
            Shape::Part(part) => self.layout(&mut block, &part.layout),
            shape => {
                let _ = writeln!(block, "  {}", self.shape(shape));
            }
        }
        block
    }

    fn part(&self, part: &Part) -> String {
        let mut block = format!("part {}\n", self.label(part));
        self.layout(&mut block, &part.layout);
        block
    }

    fn layout(&self, block: &mut String, layout: &Layout) {
        match layout {
            Layout::Structure(fields) => self.fields(block, "  ", fields),
            Layout::Enumeration(variants) => {
                for variant in *variants {
                    let _ = writeln!(block, "  variant {}", variant.name);
                    self.fields(block, "    ", variant.fields);
                }
            }
        }
    }

    fn fields(&self, block: &mut String, indent: &str, fields: &[Field]) {
        for field in fields {
            let _ = writeln!(block, "{indent}{}: {}", field.name, self.shape(field.shape));
        }
    }

    fn shape(&self, shape: &Shape) -> String {
        match shape {
            Shape::Plain(name) => (*name).to_owned(),
            Shape::Option(element) => format!("Option<{}>", self.shape(element)),
            Shape::Vec(element) => format!("Vec<{}>", self.shape(element)),
            Shape::BoxedSlice(element) => format!("Box<[{}]>", self.shape(element)),
            Shape::Array(element, count) => format!("[{}; {count}]", self.shape(element)),
            Shape::Tuple([element]) => format!("({},)", self.shape(element)),
            Shape::Tuple(elements) => {
                let elements: Vec<_> = elements.iter().map(|element| self.shape(element)).collect();
                format!("({})", elements.join(", "))
            }
            Shape::Ref(protocol) => format!("Ref<{protocol}>"),
            Shape::Part(part) => self.label(part),
            // What a later version of the wire crate adds says what it is until it is written out.
            other => format!("{other:?}"),
        }
    }
}
