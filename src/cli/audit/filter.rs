//! Which records are meant.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use clap::Args;

use crate::audit::form::{DecisionForm, Instant, Outcome, RecordForm};

/// Everything that is given must hold.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Filter {
    /// Only what was denied.
    #[arg(long, conflicts_with = "allowed")]
    denied: bool,
    /// Only what was allowed.
    #[arg(long)]
    allowed: bool,
    /// Only with this reason, such as `not_permitted`.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Only about this entity, such as `component:default/orders`.
    #[arg(long, value_name = "REF")]
    entity: Option<String>,
    /// Only of this caller: an object id, or a pseudonym.
    #[arg(long, value_name = "ID")]
    principal: Option<String>,
    /// Only where this policy decided, warned, alerted, or would have decided.
    #[arg(long, value_name = "ID")]
    policy: Option<String>,
    /// Only by this route.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Only from then on: `2026-03-01T12:00:00Z`, `2026-03-01`, or `90m`, `12h`, `7d` ago.
    #[arg(long, value_name = "TIME", value_parser = when)]
    since: Option<Instant>,
    /// Only before then.
    #[arg(long, value_name = "TIME", value_parser = when)]
    until: Option<Instant>,
    /// Only this decision.
    #[arg(long, value_name = "DECISION")]
    id: Option<String>,
}

impl Filter {
    /// Whether the record is meant. A gap is, whatever was asked for in its time: what is
    /// missing could have been meant.
    pub(super) fn admits(&self, record: &RecordForm<'_>) -> bool {
        let time = record.time();
        if self.since.is_some_and(|since| time < since)
            || self.until.is_some_and(|until| time >= until)
        {
            return false;
        }
        match record {
            RecordForm::Decision(decision) => self.admits_decision(decision),
            RecordForm::Catalog(catalog) => {
                !self.asks_for_decisions()
                    && same(self.entity.as_deref(), catalog.entity.as_deref())
            }
            RecordForm::Config(_) => !self.asks_for_decisions() && self.entity.is_none(),
            RecordForm::Gap(_) => self.id.is_none(),
        }
    }

    fn asks_for_decisions(&self) -> bool {
        let texts = [&self.reason, &self.principal, &self.policy, &self.route, &self.id];
        self.denied || self.allowed || texts.iter().any(|text| text.is_some())
    }

    fn admits_decision(&self, decision: &DecisionForm<'_>) -> bool {
        let wanted = match (self.denied, self.allowed) {
            (true, _) => decision.decision == Outcome::Deny,
            (_, true) => decision.decision == Outcome::Allow,
            _ => true,
        };
        let object = decision.principal.as_ref().map(|principal| &*principal.object);
        wanted
            && same(self.reason.as_deref(), Some(&decision.reason))
            && same(self.entity.as_deref(), decision.entity.as_deref())
            && same(self.principal.as_deref(), object)
            && same(self.route.as_deref(), decision.route.as_deref())
            && same(self.id.as_deref(), Some(&decision.decision_id))
            && self.policy.as_deref().is_none_or(|policy| names(decision, policy))
    }
}

/// Whether nothing was asked for, or this; ids and refs don't differ by case.
fn same(wanted: Option<&str>, found: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
}

fn names(decision: &DecisionForm<'_>, policy: &str) -> bool {
    let notices = decision.warnings.iter().chain(&decision.alerts).map(|notice| &notice.policy);
    let shadow = decision.shadow.iter().flat_map(|shadow| &shadow.policies);
    decision.policies.iter().chain(notices).chain(shadow).any(|id| id == policy)
}

/// A time as a person writes it.
fn when(text: &str) -> Result<Instant, String> {
    when_at(text, Utc::now())
}

fn when_at(text: &str, now: DateTime<Utc>) -> Result<Instant, String> {
    if let Ok(time) = text.parse::<Instant>() {
        return Ok(time);
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(Instant(day.and_time(NaiveTime::MIN).and_utc()));
    }
    ago(text)
        .and_then(|ago| now.checked_sub_signed(ago))
        .map(Instant)
        .ok_or_else(|| "expected `2026-03-01T12:00:00Z`, `2026-03-01`, or `90m` ago".to_owned())
}

fn ago(text: &str) -> Option<TimeDelta> {
    let unit = text.chars().last()?;
    let count = text.strip_suffix(unit)?.parse::<u32>().ok()?;
    let count = i64::from(count);
    match unit {
        's' => TimeDelta::try_seconds(count),
        'm' => TimeDelta::try_minutes(count),
        'h' => TimeDelta::try_hours(count),
        'd' => TimeDelta::try_days(count),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let now = "2026-03-02T12:00:00Z".parse::<Instant>().expect("a time");
        for (text, want) in [
            ("2026-03-01T12:00:00Z", Some("2026-03-01T12:00:00.000Z")),
            ("2026-03-01T12:00:00+02:00", Some("2026-03-01T10:00:00.000Z")),
            ("2026-03-01", Some("2026-03-01T00:00:00.000Z")),
            ("30s", Some("2026-03-02T11:59:30.000Z")),
            ("90m", Some("2026-03-02T10:30:00.000Z")),
            ("12h", Some("2026-03-02T00:00:00.000Z")),
            ("7d", Some("2026-02-23T12:00:00.000Z")),
            ("", None),
            ("m", None),
            ("-1m", None),
            ("4294967295d", None),
            ("1é", None),
            ("yesterday", None),
        ] {
            let got = when_at(text, now.0).ok().map(|time| time.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
