//! Which trace a span belongs to, as requests carry it from program to program (W3C Trace Context) and threads carry it
//! from function to function.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// More is cut off by others, too; who sends more gets none of it passed on.
const STATE_CHARS_MAX: usize = 512;
/// `VERSION-TRACE-SPAN-FLAGS`, of version 00.
const PARENT_CHARS: usize = 55;
const FLAG_SAMPLED: u8 = 1;

/// Names a span among all spans of all programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanContext {
    pub trace: u128,
    pub span: u64,
    /// `false`: who began the trace does not want it recorded.
    pub is_sampled: bool,
    /// What other programs wrote for themselves (`tracestate`).
    pub state: Arc<str>,
}

impl SpanContext {
    /// The first span of a new trace.
    pub fn root() -> Self {
        Self { trace: random(rand::random), span: random(rand::random), is_sampled: true, state: Arc::from("") }
    }

    pub fn child(&self) -> Self {
        Self { span: random(rand::random), ..self.clone() }
    }

    /// From the headers of a request. What is not well formed is as good as nothing, as the standard has it.
    pub fn parse(parent: &str, state: &str) -> Option<Self> {
        let parent = parent.trim();
        let is_plain = parent.is_ascii() && parent.len() >= PARENT_CHARS;
        let (version, rest) = is_plain.then(|| parent.split_at(2))?;
        let version = lower_hex(version)?;
        // Later versions may add to the end, and 255 is none.
        let fits = match version {
            0 => parent.len() == PARENT_CHARS,
            255 => false,
            _ => parent.len() == PARENT_CHARS || parent.as_bytes()[PARENT_CHARS] == b'-',
        };
        let mut parts = rest.strip_prefix('-').filter(|_| fits)?.split('-');
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let lengths_fit = (trace.len(), span.len(), flags.len()) == (32, 16, 2);
        let (trace, span, flags) = lengths_fit.then(|| (lower_hex(trace), lower_hex(span), lower_hex(flags)))?;
        let state = if state.chars().count() <= STATE_CHARS_MAX { state.trim() } else { "" };
        Some(Self {
            trace: trace.filter(|trace| *trace != 0)?,
            span: u64::try_from(span?).ok().filter(|span| *span != 0)?,
            is_sampled: u8::try_from(flags?).ok()? & FLAG_SAMPLED != 0,
            state: Arc::from(state),
        })
    }

    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }
}

/// As `traceparent` carries it.
impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

/// Zero is no name.
fn random<T: PartialEq + Default>(draw: impl Fn() -> T) -> T {
    loop {
        let drawn = draw();
        if drawn != T::default() {
            return drawn;
        }
    }
}

fn lower_hex(text: &str) -> Option<u128> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_hex.then(|| u128::from_str_radix(text, 16).ok())?
}

thread_local! {
    static CURRENT: RefCell<Option<SpanContext>> = const { RefCell::new(None) };
}

/// The span that this thread works for.
pub fn current() -> Option<SpanContext> {
    CURRENT.with_borrow(Clone::clone)
}

/// Does something for a span; nothing of it stays with the thread, whatever happens.
pub fn within<R>(context: Option<SpanContext>, work: impl FnOnce() -> R) -> R {
    struct Restore(Option<SpanContext>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(context));
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_a_request_carries_is_read_and_written_alike() {
        let context = SpanContext::parse(PARENT, "vendor=1").unwrap();
        assert_eq!(context.to_string(), PARENT);
        assert_eq!((&*context.state, context.is_sampled), ("vendor=1", true));
        let child = context.child();
        assert!(child.trace == context.trace && child.span != context.span && child.state == context.state);
        assert!(!SpanContext::parse(&PARENT.replace("-01", "-00"), "").unwrap().is_sampled);
        // A later version, with more at its end.
        assert!(SpanContext::parse(&format!("cc{}-more", &PARENT[2..]), "").is_some());
        assert_eq!(&*SpanContext::parse(PARENT, &"x".repeat(600)).unwrap().state, "");
    }

    #[test]
    fn what_is_not_well_formed_is_nothing() {
        let wrong = [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-001",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ];
        for text in wrong {
            assert_eq!(SpanContext::parse(text, ""), None, "{text}");
        }
    }

    #[test]
    fn a_thread_forgets_what_it_worked_for() {
        let context = SpanContext::root();
        assert_eq!(within(Some(context.clone()), current), Some(context.clone()));
        let panicked = std::panic::catch_unwind(|| within(Some(context), || panic!("on purpose")));
        assert!(panicked.is_err() && current().is_none());
    }
}
