//! What holds for calls wherever they go.

use crate::config::Routing;
use crate::error::Problem;
use crate::numbers::dialled;
use crate::section::Section;
use tandem_switch::emergency::{EmergencyNumbers, MAX_EMERGENCY_NUMBERS};

/// `[routing]`.
pub(crate) fn routing(root: &mut Section) -> Routing {
    const NUMBER: &str = "a called number of 1 to 32 digits, '+', '*' or '#'";
    let mut routing = Routing::default();
    let Some(mut section) = root.section("routing") else {
        return routing;
    };
    let number = |node| match dialled(node, NUMBER) {
        Ok(number) if number.is_empty() => Err(Problem::NotA { expected: NUMBER }),
        other => other,
    };
    let numbers = section.read_list("emergency_numbers", number).unwrap_or_default();
    if let Some(beyond) = numbers.get(MAX_EMERGENCY_NUMBERS) {
        let expected = "among the first 64, which are the most there can be";
        section.report(beyond.error(Problem::NotA { expected }));
    }
    routing.emergency = EmergencyNumbers::new(numbers.into_iter().map(|spot| spot.value));
    root.adopt(section);
    routing
}
