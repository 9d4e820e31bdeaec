//! Five thousand made-up key ids a second for a minute, each another one.

use std::time::Duration;

use anyhow::Result;
use devtenant::tenant::Endpoint;

use super::client::{Client, Outcome, apart};
use super::mint::Form;
use super::site::{Callers, Manner, PATH, RECORDS_TO_NOWHERE, Setup, Site};
use super::{Findings, a_second, spread};

const RATE: f64 = 5000.0;
const LENGTH: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 8;
/// On their way at a time: what Envoy's circuit breaker lets through in the shipped
/// configurations.
const MOST: usize = 4000;
/// Fetches that made-up ids may cause in an interval of five minutes, and one for a change.
const FETCHES: usize = 2;

/// What became of the flood.
#[derive(Debug, Default)]
struct Flood {
    unknown: u64,
    shed: u64,
    wrong: u64,
    first: String,
}

pub(super) async fn measure() -> Result<Findings> {
    let setup = Setup { first: RECORDS_TO_NOWHERE, ..Setup::default() };
    let site = Site::start(setup).await?;
    let to = site.address()?;
    let known = site.warm(0, 100).await?;
    let manner = Manner { pause: Duration::from_millis(5), anew: false, may_be_shed: false };
    let known = Callers::start(to, known, manner);
    let new = Manner { pause: Duration::from_millis(20), may_be_shed: true, ..manner };
    let new = Callers::start(to, site.known(1_000, 4_000), new);

    let documents =
        || [Endpoint::Discovery, Endpoint::Keys].map(|endpoint| site.tenant.requests(endpoint));
    let before = documents();
    let mint = site.mint.clone();
    let (asking, flood) = apart(move || async move {
        // As long as those of Entra, and none twice.
        let made_up = |number: u64| {
            let kid = format!("{:016x}{number:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            mint.forged(number, &kid)
        };
        let form = Form::like(&made_up(0), PATH);
        let mut client = Client::connect(to, CONNECTIONS).await?;
        let mut flood = Flood::default();
        let next = |number: u64| (number, form.with(&made_up(number)));
        let asking = client.paced((RATE, MOST), LENGTH, next, |answer| match answer.outcome() {
            Outcome::Denied if answer.says("token_key_unknown") => flood.unknown += 1,
            Outcome::TurnedAway => flood.shed += 1,
            _ => {
                if flood.wrong == 0 {
                    flood.first = answer.text();
                }
                flood.wrong += 1;
            }
        });
        let asking = asking.await?;
        Ok((asking, flood))
    })
    .await?;
    let after = documents();
    let (known, new) = (known.stop().await?, new.stop().await?);

    let fetches: Vec<usize> =
        after.iter().zip(before).map(|(after, before)| after - before).collect();
    let mut findings = Findings::default();
    findings.note(
        "made-up key ids, each another one",
        "5,000 a second for 60 s",
        format!("{} at {:.0} a second", asking.asked, a_second(asking.asked, asking.took)),
    );
    findings.note(
        "fetches of the key document meanwhile",
        "1, and 1 extra",
        fetches[1].to_string(),
    );
    findings.note(
        "told that the key is unknown; turned away for overload, or too late",
        "",
        format!("{}; {}", flood.unknown, flood.shed),
    );
    findings.note(
        "known callers let in; refused; p50, p99, longest",
        "all; none",
        format!("{}; {}; {}", known.let_in, known.wrong, spread(known.times)),
    );
    findings.note(
        "never seen before: let in; turned away; wrong",
        "",
        format!("{}; {}; {}", new.let_in, new.shed, new.wrong),
    );
    findings.hold(
        fetches.iter().all(|fetches| *fetches <= FETCHES),
        format!("fetches of the discovery and key documents: {fetches:?}"),
    );
    findings.hold(flood.wrong == 0, format!("{} got: {}", flood.wrong, flood.first));
    findings.hold(flood.unknown > 0, "nobody's key was looked for");
    findings.hold(known.wrong == 0, format!("who is known got: {}", known.first));
    findings.hold(known.let_in > 100, format!("{} known callers were let in", known.let_in));
    findings.hold(new.wrong == 0, format!("who is new got: {}", new.first));
    findings.hold(site.process.ends() == 0, "the process ended");
    Ok(findings)
}
