//! The commands that come from stdin.

use std::io::BufRead as _;

use futures_channel::mpsc;
use futures_util::StreamExt as _;
use ringmesh::cluster::{Cluster, WhyNotConverged};

use crate::arguments::address;
use crate::report::{Line, Reporter, explain, state, why};

/// Answers each line of stdin, in order, until that ends.
pub(crate) async fn serve(cluster: Cluster, reporter: Reporter) {
    // Reading waits, so it has a thread of its own, which ends with the process. It reads on when
    // the line before was answered.
    let (mut lines, mut read) = mpsc::channel(1);
    let (answered, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.try_send(line).is_err() || wait.recv().is_err() {
                return;
            }
        }
    });
    while let Some(line) = read.next().await {
        if !line.trim().is_empty() {
            reporter.say(answer(&cluster, line.trim()).await);
        }
        if answered.send(()).is_err() {
            return;
        }
    }
}

async fn answer(cluster: &Cluster, line: &str) -> Line {
    match carry_out(cluster, line).await {
        Ok(answer) => answer.unwrap_or_else(|| Line::new("ok").with("command", line)),
        Err(message) => Line::new("error")
            .with("command", line)
            .with("message", message),
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
