//! The commands that come from stdin.

use std::io::{BufRead, Read as _};

use futures_channel::mpsc;
use futures_util::StreamExt as _;
use ringmesh::cluster::{Cluster, WhyNotConverged};

use crate::arguments::address;
use crate::report::{Line, Reporter, explain, state, why};

/// The longest line that may be a command: longer ones are refused without being kept.
const LINE_BYTES_MAX: u64 = 4096;

/// Answers each line of stdin, in order, until that ends.
pub(crate) async fn serve(cluster: Cluster, reporter: Reporter) {
    // Reading waits, so it has a thread of its own, which ends with the process. It reads on when
    // the line before was answered.
    let (mut lines, mut read) = mpsc::channel(1);
    let (answered, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        while let Some(line) = next_line(&mut input) {
            if lines.try_send(line).is_err() || wait.recv().is_err() {
                return;
            }
        }
    });
    while let Some(line) = read.next().await {
        match line {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => reporter.say(answer(&cluster, line.trim()).await),
            Err(line) => reporter.say(refusal(&line, "a command is UTF-8 and not that long")),
        }
        if answered.send(()).is_err() {
            return;
        }
    }
}

/// The next line; an error with what can be shown of it if it can be no command. `None` at the end
/// of the input.
fn next_line(input: &mut impl BufRead) -> Option<Result<String, String>> {
    let mut line = Vec::new();
    let most = LINE_BYTES_MAX + 1;
    let read = input.take(most).read_until(b'\n', &mut line);
    if read.ok()? == 0 {
        return None;
    }
    let is_whole = line.ends_with(b"\n") || (line.len() as u64) < most;
    if !is_whole {
        // The rest of it is no line of its own.
        input.skip_until(b'\n').ok()?;
    }
    match String::from_utf8(line) {
        Ok(line) if is_whole => Some(Ok(line)),
        Ok(line) => Some(Err(line)),
        Err(error) => {
            let line = String::from_utf8_lossy(error.as_bytes());
            Some(Err(line.trim_end().to_owned()))
        }
    }
}

fn refusal(line: &str, message: impl Into<String>) -> Line {
    let line = Line::new("error").with("command", line);
    line.with("message", message.into())
}

async fn answer(cluster: &Cluster, line: &str) -> Line {
    match carry_out(cluster, line).await {
        Ok(answer) => answer.unwrap_or_else(|| Line::new("ok").with("command", line)),
        Err(message) => refusal(line, message),
    }
}

/// Carries a command out. Some have an answer of their own.
async fn carry_out(cluster: &Cluster, line: &str) -> Result<Option<Line>, String> {
    let mut words = line.split_whitespace();
    let (command, argument) = (words.next().unwrap_or_default(), words.next());
    if words.next().is_some() {
        return Err("a command has one argument at most".to_owned());
    }
    let own = cluster.state().own().address.clone();
    let at = |text: &str| address(own.system(), text);
    let needed = || argument.ok_or_else(|| format!("{command} needs an argument"));
    let done = match command {
        "join" => cluster.join(vec![at(needed()?)?]).await,
        "found" => cluster.found().await,
        "leave" => match argument {
            Some(member) => cluster.have_leave(at(member)?).await,
            None => cluster.leave().await,
        },
        "down" => cluster.down(at(needed()?)?).await,
        "prepare_for_full_shutdown" => cluster.prepare_for_full_shutdown().await,
        "set_app_version" => {
            let version = needed()?.parse();
            let version = version.map_err(|error| format!("{error}"))?;
            cluster.set_app_version(version).await
        }
        "state" => {
            let blockers = blockers(cluster).await?;
            let converged = blockers.is_some_and(|it| it.is_converged());
            return Ok(Some(state(&cluster.state(), converged)));
        }
        "why" => {
            let blockers = blockers(cluster).await?;
            let blockers = blockers.ok_or("this node is in no cluster")?;
            return Ok(Some(why(&blockers)));
        }
        "explain" => {
            let explanation = cluster.explain().await;
            let explanation = explanation.map_err(|error| error.to_string())?;
            return Ok(Some(explain(&explanation)));
        }
        _ => return Err(format!("{command:?} is no command")),
    };
    done.map(|()| None).map_err(|error| error.to_string())
}

async fn blockers(cluster: &Cluster) -> Result<Option<WhyNotConverged>, String> {
    let blockers = cluster.why_not_converged().await;
    blockers.map_err(|error| error.to_string())
}
