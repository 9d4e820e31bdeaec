//! Three times of what the processors can do: of decisions about known callers, and of
//! signatures of tokens that nobody made.
//!
//! The client takes its share of the machine, and more of it the more it asks, so what is left
//! to the server under overload is less than it had at its peak. Both shares are reported.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::time::Instant;

use super::client::{Answer, Asking, Client, Outcome, apart};
use super::mint::Form;
use super::site::{KEY, PATH, RECORDS_TO_NOWHERE, Setup, Site};
use super::{Findings, a_second, spread};
use crate::figures::{millis, within};
use crate::process::Usage;
use crate::world::DEADLINE;

const LINES: usize = 4;
/// On their way at a time where the peak is looked for.
const AT_A_TIME: usize = 256;
/// And under overload: what Envoy's circuit breaker lets through in the shipped configurations.
const MOST: usize = 4000;
const PEAK: Duration = Duration::from_secs(6);
const OVERLOAD: Duration = Duration::from_secs(15);
const TIMES: f64 = 3.0;
/// What Envoy waits for in the shipped configurations: a later answer is none.
const WAITED_FOR: Duration = Duration::from_millis(200);
const KNOWN: u64 = 200;
/// Forged tokens, sent over and over: none of them is remembered.
const FORGED: u64 = 20_000;
/// The part of the peak that known callers ask for beside forged tokens.
const BESIDE: f64 = 0.2;
/// Answers in a row after which it is as it was.
const IN_A_ROW: usize = 20;

/// What answers were, while there were new requests.
#[derive(Debug, Default)]
struct Heard {
    /// Let in within the time that Envoy waits, and how long all took that were let in.
    let_in: u64,
    times: Vec<Duration>,
    /// Turned away, or too late.
    shed: Vec<Duration>,
    /// Denied for what they are.
    denied: u64,
    wrong: u64,
    first: String,
}

impl Heard {
    /// Judges an answer: to a known caller, or to one whose token is forged.
    fn judge(&mut self, answer: &Answer, is_known: bool) {
        match answer.outcome() {
            Outcome::Allowed if is_known => {
                self.let_in += u64::from(answer.took <= WAITED_FOR);
                self.times.push(answer.took);
            }
            Outcome::TurnedAway => self.shed.push(answer.took),
            Outcome::Denied if !is_known && answer.says("token_signature") => self.denied += 1,
            _ => {
                if self.wrong == 0 {
                    self.first = answer.text();
                }
                self.wrong += 1;
            }
        }
    }
}

/// How a load went.
struct Went {
    asking: Asking,
    known: Heard,
    forged: Heard,
    /// Processors that the server had.
    processors: f64,
    /// From the last new request to usual answers.
    normal: Duration,
}

/// What is sent, and how fast.
#[derive(Clone)]
struct Load {
    known: Vec<Bytes>,
    forged: Vec<Bytes>,
    /// Requests a second, or as many as get answers.
    rate: Option<f64>,
    /// Of all requests, those of known callers.
    share: f64,
    length: Duration,
    /// Within what somebody is answered who asks alone.
    usual: Duration,
}

/// The mark of a request by a known caller; those of others are even.
const IS_KNOWN: u64 = 1;

async fn play(site: &Site, load: Load) -> Result<Went> {
    let to = site.address()?;
    let before = site.process.usage().context("it ended")?;
    let begun = Instant::now();
    let ((asking, [known, forged]), normal) = apart(move || async move {
        let mut client = Client::connect(to, LINES).await?;
        let mut heard = [Heard::default(), Heard::default()];
        let begun = Instant::now();
        let mut part = 0.0;
        let next = |number: u64| {
            part += load.share;
            let (of, mark) = if part >= 1.0 {
                part -= 1.0;
                (&load.known, IS_KNOWN)
            } else {
                (&load.forged, 0)
            };
            let at = usize::try_from(number).unwrap_or_default() % of.len().max(1);
            (number * 2 + mark, of[at].clone())
        };
        let each = |answer: &Answer| {
            // What comes after the last request is none of the rate.
            if begun.elapsed() <= load.length {
                let is_known = answer.tag % 2 == IS_KNOWN;
                heard[usize::from(!is_known)].judge(answer, is_known);
            }
        };
        let asking = match load.rate {
            Some(rate) => client.paced((rate, MOST), load.length, next, each).await?,
            None => {
                let goes_on = |_| begun.elapsed() < load.length;
                client.closed(AT_A_TIME, goes_on, next, each).await?
            }
        };
        let check = load.known.first().context("nobody is known")?;
        let normal = back_to_normal(&mut client, check, load.usual, asking.ended).await?;
        Ok(((asking, heard), normal))
    })
    .await?;
    let after = site.process.usage().context("it ended")?;
    let processors = processors((before, after), begun.elapsed());
    Ok(Went { asking, known, forged, processors, normal })
}

fn processors((before, after): (Usage, Usage), took: Duration) -> f64 {
    after.processor.saturating_sub(before.processor).as_secs_f64() / took.as_secs_f64()
}

/// From the last new request until answers are as fast as they usually are.
async fn back_to_normal(
    client: &mut Client,
    check: &Bytes,
    usual: Duration,
    since: Instant,
) -> Result<Duration> {
    let mut row = 0;
    let mut first = since;
    while row < IN_A_ROW {
        ensure!(since.elapsed() < DEADLINE, "it does not become normal again");
        let asked = Instant::now();
        let answer = client.one(check).await?;
        ensure!(answer.outcome() == Outcome::Allowed, "who is known got: {}", answer.text());
        if row == 0 {
            first = asked;
        }
        row = if answer.took <= usual { row + 1 } else { 0 };
    }
    Ok(first - since)
}

/// Within what one is answered who asks alone: 99 of 100, and twice of that.
async fn usual(site: &Site, check: &Bytes) -> Result<Duration> {
    let mut client = Client::connect(site.address()?, 1).await?;
    let mut times = Vec::new();
    for _ in 0..1000 {
        times.push(client.one(check).await?.took);
    }
    let usual = within(0.99, times).context("nobody asked")? * 2;
    Ok(usual.max(Duration::from_millis(5)))
}

pub(super) async fn measure() -> Result<Findings> {
    let site = Site::start(Setup { first: RECORDS_TO_NOWHERE, ..Setup::default() }).await?;
    let known = site.warm(0, KNOWN).await?;
    let form = Form::like(&site.mint.forged(0, KEY), PATH);
    let forged = (0..FORGED).map(|number| form.with(&site.mint.forged(number, KEY))).collect();
    let usual = usual(&site, &known[0]).await?;
    let (length, rate, share) = (PEAK, None, 1.0);
    let load = Load { known, forged, rate, share, length, usual };
    let mut findings = Findings::default();

    let went = play(&site, load.clone()).await?;
    let peak = a_second(went.known.let_in, went.asking.took);
    findings.note(
        "the peak of known callers, right answers a second; processors of the server",
        "",
        format!("{peak:.0}; {:.2}", went.processors),
    );
    judge(&mut findings, "at the peak", &went, &site);

    let rate = Some(TIMES * peak);
    let went = play(&site, Load { rate, length: OVERLOAD, ..load.clone() }).await?;
    of_known(&mut findings, &went, peak);
    judge(&mut findings, "three times the peak", &went, &site);

    let went = play(&site, Load { share: 0.0, ..load.clone() }).await?;
    let looked_at = a_second(went.forged.denied, went.asking.took);
    findings.note(
        "the peak of forged tokens, looked at a second; processors of the server",
        "",
        format!("{looked_at:.0}; {:.2}", went.processors),
    );
    judge(&mut findings, "at the peak of forged tokens", &went, &site);

    let asked = BESIDE * peak;
    let rate = asked + TIMES * looked_at;
    let share = asked / rate;
    let went = play(&site, Load { rate: Some(rate), share, length: OVERLOAD, ..load }).await?;
    beside_forged(&mut findings, &went, asked);
    judge(&mut findings, "three times the peak of forged tokens", &went, &site);
    Ok(findings)
}

fn judge(findings: &mut Findings, what: &str, went: &Went, site: &Site) {
    for (who, heard) in [("known", &went.known), ("forged", &went.forged)] {
        let wrong = heard.wrong;
        findings.hold(wrong == 0, format!("{what}: {wrong} {who} got: {}", heard.first));
    }
    findings.hold(went.asking.asked > 0, format!("{what}: nothing was asked"));
    findings.hold(site.process.ends() == 0, "the process ended");
}

/// What was asked in a second, and what was beyond what Envoy would have on its way.
fn asked(went: &Went) -> String {
    let Asking { asked, withheld, took, .. } = went.asking;
    format!("{:.0}; {:.0}", a_second(asked, took), a_second(withheld, took))
}

fn of_known(findings: &mut Findings, went: &Went, peak: f64) {
    let goodput = a_second(went.known.let_in, went.asking.took);
    findings.note(
        "three times that: asked a second; beyond what Envoy would have on its way",
        "",
        asked(went),
    );
    findings.note(
        "right answers within 200 ms, of the peak; processors of the server",
        "80 %",
        format!("{:.0} %; {:.2}", 100.0 * goodput / peak, went.processors),
    );
    findings.note("let in: p50, p99, longest", "", spread(went.known.times.clone()));
    findings.note(
        "turned away by the server (who is known waits for nothing and is not counted)",
        "",
        went.known.shed.len().to_string(),
    );
    findings.note("usual answers after it within", "2,000 ms", as_millis(went.normal));
    findings.hold(went.known.let_in > 0, "nobody was let in under overload");
}

fn beside_forged(findings: &mut Findings, went: &Went, rate: f64) {
    let goodput = a_second(went.known.let_in, went.asking.took);
    findings.note(
        format!("three times that, beside known callers who ask {rate:.0} times a second: asked in all; beyond what Envoy would have on its way"),
        "",
        asked(went),
    );
    findings.note(
        "known callers let in within 200 ms, of what they ask; processors of the server",
        "80 %",
        format!("{:.0} %; {:.2}", 100.0 * goodput / rate, went.processors),
    );
    findings.note("known callers: p50, p99, longest", "", spread(went.known.times.clone()));
    findings.note(
        format!("{} forged turned away for overload: p50, p99, longest", went.forged.shed.len()),
        "10 ms",
        spread(went.forged.shed.clone()),
    );
    findings.note("usual answers after it within", "2,000 ms", as_millis(went.normal));
    findings.hold(went.known.let_in > 0, "nobody was let in beside forged tokens");
    findings.hold(!went.forged.shed.is_empty(), "nobody was turned away");
}

fn as_millis(duration: Duration) -> String {
    format!("{:.0} ms", millis(duration))
}
