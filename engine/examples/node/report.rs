//! What the program prints: events and answers, a line each.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use ringmesh::cluster::{Event, Explanation, Member, Side, Standing, Topology, WhyNotConverged};
use ringmesh::{Address, NodeId, Uid};
use serde_json::{Map, Value, json};

/// Prints lines, as JSON or plainly.
#[derive(Clone, Copy)]
pub(crate) struct Reporter {
    json: bool,
}

/// A line: its event, and fields in order.
pub(crate) struct Line(Map<String, Value>);

impl Line {
    pub(crate) fn new(event: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("event".to_owned(), event.into());
        Self(fields)
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn number(self, key: &str, value: u64) -> Self {
        self.with(key, value)
    }

    /// What it is about.
    pub(crate) fn of(self, node: &NodeId) -> Self {
        self.of_any(Some(node))
    }

    /// The same, where it may be about nobody.
    fn of_any(self, node: Option<&NodeId>) -> Self {
        self.with("member", node.map(|it| place(&it.address)))
            .with("uid", node.map(|it| it.uid.to_string()))
    }
}

impl Reporter {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn say(self, line: Line) {
        let mut fields = line.0;
        let text = if self.json {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |since| since.as_millis() as u64);
            fields.insert("at_ms".to_owned(), now.into());
            Value::Object(fields).to_string()
        } else {
            plain(&fields)
        };
        let mut out = std::io::stdout().lock();
        // Nobody reads any more: the node goes on, and ends when it is told to.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// Prints an event of the cluster, which was as `before` until then.
    pub(crate) fn event(self, event: &Event, before: &Topology) {
        let line = Line::new(event.label());
        let names = |names: &[Box<str>]| names.iter().map(|it| Value::from(&**it)).collect();
        let names = |it: &[Box<str>]| Value::Array(names(it));
        let places = |them: &[Address]| them.iter().map(place).collect::<Vec<String>>();
        self.say(match event {
            Event::Founded { cluster } => line.with("cluster_id", cluster.to_string()),
            Event::Welcomed { cluster, by } => line
                .with("cluster_id", cluster.to_string())
                .with("by", place(&by.address)),
            Event::Member(member) => line.of(member.node()),
            Event::Removed { node, previous } => line.of(node).with("previous", previous.label()),
            Event::Unreachable { node, reason, by } => {
                let place_of = |uid: &Uid| match before.member(*uid) {
                    Some(member) => place(member.address()),
                    None => uid.to_string(),
                };
                let by: Vec<String> = by.iter().map(place_of).collect();
                line.of(node).with("reason", reason.label()).with("by", by)
            }
            Event::Reachable { node } => line.of(node),
            Event::DataCentreUnreachable { name } | Event::DataCentreReachable { name } => {
                line.with("dc", &**name)
            }
            Event::Leader(node) => line.of_any(node.as_ref()),
            Event::RoleLeader { role, node } => line.of_any(node.as_ref()).with("role", &**role),
            Event::ForeignCluster { node, cluster } => {
                line.of(node).with("cluster_id", cluster.to_string())
            }
            Event::Incompatible {
                by,
                names: differing,
            }
            | Event::ConfigurationDiffers {
                by,
                names: differing,
            } => line.of(by).with("names", names(differing)),
            Event::AddressInUse { by } => line.with("by", places(by)),
            Event::JoinWaiting { silent } => line.with("silent", places(silent)),
            Event::Decision(decision) => {
                let down: Vec<String> = decision.down.iter().map(|it| place(&it.address)).collect();
                line.with("strategy", decision.strategy)
                    .with("verdict", decision.verdict.to_string())
                    .with("down", down)
                    .with("why", one_line(&decision.to_string()))
            }
            Event::Stalled { gap } => line.number("gap_ms", gap.as_millis() as u64),
            Event::TokensFell { lease, known, last } => line
                .with("lease", lease.as_str())
                .with("known", known.to_string())
                .with("last", last.to_string()),
            Event::StateUnwritten { why } => line.with("why", one_line(why)),
            Event::SelfRemoved { previous } => {
                line.of(before.own()).with("previous", previous.label())
            }
            _ => line,
        });
    }
}

/// The answer to `state`.
pub(crate) fn state(topology: &Topology, converged: bool) -> Line {
    let member = |member: &Member| {
        let roles = member.roles().iter().filter(|it| !it.starts_with("dc-"));
        json!({
            "member": place(member.address()),
            "uid": member.uid().to_string(),
            "status": member.status().label(),
            "reachable": !topology.is_unreachable(member.uid()),
            "roles": roles.collect::<Vec<_>>(),
            "dc": member.roles().data_centre(),
            "app_version": member.profile().app_version.as_str(),
            "up_number": member.up_number().is_given().then_some(member.up_number().0),
        })
    };
    let members: Vec<Value> = topology.members().iter().map(member).collect();
    Line::new("state")
        .of(topology.own())
        .with("cluster_id", topology.cluster().map(|it| it.to_string()))
        .with("version", topology.version())
        .with("converged", converged)
        .with("has_quorum", topology.has_quorum())
        .with("leader", topology.leader().map(|it| place(it.address())))
        .with("members", members)
}

/// The answer to `why`.
pub(crate) fn why(why: &WhyNotConverged) -> Line {
    let places =
        |nodes: &[NodeId]| -> Vec<String> { nodes.iter().map(|it| place(&it.address)).collect() };
    let blocking = why.blocking.iter().map(|(member, observers)| {
        json!({
            "member": place(member.address()),
            "status": member.status().label(),
            "observers": places(observers),
        })
    });
    Line::new("why")
        .with("converged", why.is_converged())
        .with("not_seen", places(&why.not_seen))
        .with("blocking", blocking.collect::<Vec<_>>())
        .with("text", why.to_string())
}

/// The answer to `explain`: the decision that would be made now, and from what. It differs by
/// that from one that was made.
pub(crate) fn explain(explanation: &Explanation) -> Line {
    let member = |it: &Standing| {
        let by = it.accusers.iter().map(|accuser| {
            json!({ "by": accuser.observer.to_string(), "reason": accuser.reason.label() })
        });
        json!({
            "member": place(&it.node.address),
            "uid": it.node.uid.to_string(),
            "status": it.status.label(),
            "counted": it.is_counted,
            "side": it.side.label(),
            "accusers": by.collect::<Vec<_>>(),
        })
    };
    let members: Vec<Value> = explanation.members.iter().map(member).collect();
    let is_lost = |it: &&Standing| it.side != Side::Here;
    let down = explanation.members.iter().filter(is_lost);
    let down: Vec<String> = down.map(|it| place(&it.node.address)).collect();
    let lease = explanation.lease.as_ref().map(|it| {
        json!({
            "name": it.name.as_str(),
            "known": it.known.map(|token| token.0),
            "held": it.held.map(|token| token.0),
            "wanted": it.is_wanted,
            "heard": it.heard,
        })
    });
    let due_ms = explanation.due_in.map(|it| it.as_millis() as u64);
    Line::new("decision")
        .with("strategy", explanation.strategy)
        .with("verdict", explanation.verdict.map(|it| it.to_string()))
        .with("down", down)
        .with("why", one_line(&explanation.to_string()))
        .with(
            "inputs",
            json!({
                "members": members,
                "speaker": explanation.speaker.as_ref().map(|it| place(&it.address)),
                "stable_after_ms": explanation.stable_after.as_millis() as u64,
                "stable_for_ms": explanation.stable_for.as_millis() as u64,
                "fast": explanation.is_fast,
                "due_in_ms": due_ms,
                "votes": explanation.votes.as_ref().map(|it| it.answers.len()),
                "lease": lease,
            }),
        )
}

/// A text of several lines as one.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("; ")
}

/// An address as it stands on a command line.
fn place(address: &Address) -> String {
    let text = address.to_string();
    match text.rsplit_once('@') {
        Some((_, place)) => place.to_owned(),
        None => text,
    }
}

/// The event, the member if there is one, and all else as `key=value`. Blanks stand between these
/// and in quotes, nowhere else.
fn plain(fields: &Map<String, Value>) -> String {
    let mut text = fields.get("event").map(word).unwrap_or_default();
    if let Some(member) = fields.get("member").filter(|it| !it.is_null()) {
        text += &format!(" {}", word(member));
    }
    for (key, value) in fields {
        if key != "event" && key != "member" {
            text += &format!(" {key}={}", word(value));
        }
    }
    text
}

/// A text as it is if it is one word, and all else as in JSON: a text in quotes, with escapes.
fn word(value: &Value) -> String {
    let breaks = |it: char| it.is_whitespace() || it.is_control() || it == '"';
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains(breaks) => text.to_owned(),
        _ => value.to_string(),
    }
}
