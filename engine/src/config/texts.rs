//! Settings that are texts: how they are read and printed.

use std::net::SocketAddr;

use ringmesh_proto::address::Address;

use super::{HYBRID_SPIN, IdleMode, Settings};

pub(super) fn advertised(settings: &Settings) -> String {
    match &settings.advertise {
        Some((host, port)) if host.contains(':') && !host.starts_with('[') => {
            format!("[{host}]:{port}")
        }
        Some((host, port)) => format!("{host}:{port}"),
        None => String::new(),
    }
}

pub(super) fn advertise(settings: &mut Settings, text: &str) -> Result<(), String> {
    if text.is_empty() {
        settings.advertise = None;
        return Ok(());
    }
    // An address parses and checks the host; its system is of no interest here.
    let address: Result<Address, _> = format!("ringmesh://any@{text}").parse();
    let address = address.map_err(|error| format!(": {error}"))?;
    settings.advertise = Some((address.host().to_owned(), address.port()));
    Ok(())
}

pub(super) fn control(settings: &Settings) -> String {
    let control = settings.control.map(|at| at.to_string());
    control.unwrap_or_default()
}

pub(super) fn set_control(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.control = match text {
        "" => None,
        text => {
            let at: SocketAddr = text.parse().map_err(|_| String::new())?;
            if !at.ip().is_loopback() {
                return Err(": other hosts could reach it, and it asks nobody who they are".into());
            }
            Some(at)
        }
    };
    Ok(())
}

pub(super) fn idle_name(mode: IdleMode) -> &'static str {
    match mode {
        IdleMode::Spin => "spin",
        IdleMode::Hybrid(_) => "hybrid",
        IdleMode::Park => "park",
    }
}

pub(super) fn set_idle(settings: &mut Settings, text: &str) -> Result<(), String> {
    let hybrid = match settings.idle {
        IdleMode::Hybrid(_) => settings.idle,
        IdleMode::Spin | IdleMode::Park => IdleMode::Hybrid(HYBRID_SPIN),
    };
    let modes = [IdleMode::Spin, hybrid, IdleMode::Park];
    let named = modes.into_iter().find(|mode| idle_name(*mode) == text);
    settings.idle = named.ok_or_else(String::new)?;
    Ok(())
}
