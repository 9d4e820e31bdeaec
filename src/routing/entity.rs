//! The entity of a route, fixed or filled from placeholders.

use super::path_pattern::{Placeholder, check_placeholder_name};
use crate::domain::{Denial, EntityRef, Reason, RequestLine};

/// A route's entity as written.
#[derive(Debug)]
pub(super) enum EntityTemplate {
    None,
    Fixed(EntityRef),
    Pieces(Vec<Piece>),
}

#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Placeholder(String),
}

/// How to make the entity of a request that matched one host and path pattern.
#[derive(Clone, Debug)]
pub(super) enum Entity {
    None,
    Fixed(EntityRef),
    Parts(Vec<Part>),
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(String),
    Captured(Place),
}

/// Where a placeholder's text stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// The label of the host.
    Label(usize),
    /// The segment of the path.
    Segment(usize),
}

impl EntityTemplate {
    /// Reads a ref with placeholders, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.contains(['{', '}']) {
            return match EntityRef::parse(text) {
                Ok(entity) => Ok(Self::Fixed(entity)),
                Err(error) => Err(format!("`{text}`: {error}")),
            };
        }
        let mut pieces = Vec::new();
        let mut sample = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) =
                after.split_once('}').ok_or_else(|| format!("`{text}`: a `{{` is not closed"))?;
            check_placeholder_name(name)?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Placeholder(name.to_owned()));
            sample.push_str(before);
            sample.push('x');
            rest = tail;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        sample.push_str(rest);
        EntityRef::parse(&sample).map_err(|error| format!("`{text}`: {error}"))?;
        Ok(Self::Pieces(pieces))
    }

    /// Finds the places of the placeholders in a pair of patterns. The error is a
    /// placeholder that neither has.
    pub(super) fn bind(&self, host: &[Placeholder], path: &[Placeholder]) -> Result<Entity, &str> {
        let at = |name: &str, within: &[Placeholder]| {
            within.iter().find(|placeholder| placeholder.name == name).map(|found| found.at)
        };
        let pieces = match self {
            Self::None => return Ok(Entity::None),
            Self::Fixed(entity) => return Ok(Entity::Fixed(entity.clone())),
            Self::Pieces(pieces) => pieces,
        };
        let parts = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Ok(Part::Text(text.clone())),
            Piece::Placeholder(name) => at(name, host)
                .map(Place::Label)
                .or_else(|| at(name, path).map(Place::Segment))
                .map(Part::Captured)
                .ok_or(name.as_str()),
        });
        Ok(Entity::Parts(parts.collect::<Result<_, _>>()?))
    }
}

impl Entity {
    /// The entity of a request.
    pub(super) fn of(&self, line: &RequestLine<'_>) -> Result<Option<EntityRef>, Denial> {
        self.fill(|place| match place {
            Place::Label(at) => line.host.as_str().split('.').nth(at),
            Place::Segment(at) => line.path.segments().nth(at),
        })
    }

    /// The entity, with the texts that stand at the places of its placeholders.
    pub(super) fn fill<'t>(
        &self,
        captured: impl Fn(Place) -> Option<&'t str>,
    ) -> Result<Option<EntityRef>, Denial> {
        let parts = match self {
            Self::None => return Ok(None),
            Self::Fixed(entity) => return Ok(Some(entity.clone())),
            Self::Parts(parts) => parts,
        };
        let mut text = String::new();
        for part in parts {
            let place = match part {
                Part::Text(literal) => {
                    text.push_str(literal);
                    continue;
                }
                Part::Captured(place) => *place,
            };
            // A `:` or an escape in what was captured must not become syntax.
            let captured =
                captured(place).filter(|text| text.bytes().all(is_of_a_name)).ok_or_else(|| {
                    Denial::with_detail(
                        Reason::EntityUnknown,
                        "the request names no possible entity",
                    )
                })?;
            text.push_str(captured);
        }
        EntityRef::parse(&text).map(Some).map_err(|error| {
            Denial::with_detail(
                Reason::EntityUnknown,
                format_args!("the request names no possible entity: {error}"),
            )
        })
    }
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
