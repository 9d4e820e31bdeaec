'use strict';
// Every text that somebody else wrote goes into the page as text: nothing here parses any.
(() => {
const EVERY = 3000;
const KEPT = 101;
const FIRST = 12;
const ALLOWED = ['permitted', 'authenticated_route', 'public_route'];

const id = (name) => document.getElementById(name);

// Without what steers the direction or the look of the text around it.
const clean = (text) => String(text).replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');

// An element; a child that is no node is a text.
function el(tag, given, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given || {})) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    made.append(child instanceof Node ? child : document.createTextNode(clean(child)));
  }
  return made;
}
const bdi = (text) => el('bdi', null, text);
const say = (name, text) => {
  const place = id(name);
  if (place.textContent !== text) place.textContent = text;
};

// Figures as people read them.
const number = (value) => Number(value).toLocaleString('en');
function many(value, one, more) {
  return `${number(value)} ${value === 1 ? one : more || one + 's'}`;
}
function rate(value) {
  if (value === null) return '–';
  return value >= 100 ? number(Math.round(value)) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
function span(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s}\u00a0s`;
  if (s < 5400) return `${Math.round(s / 60)}\u00a0min`;
  if (s < 129600) return `${(s / 3600).toFixed(s < 36000 ? 1 : 0)}\u00a0h`;
  return `${Math.round(s / 86400)} days`;
}
function took(seconds) {
  if (seconds === null) return '–';
  if (seconds < 1e-3) return [Math.round(seconds * 1e6), 'µs'];
  if (seconds < 1) return [+(seconds * 1e3).toPrecision(2), 'ms'];
  return [seconds, 's'];
}
function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1 << 20) return `${Math.round(bytes / 1024)} KiB`;
  return bytes < 1 << 30 ? `${(bytes / (1 << 20)).toFixed(1)} MiB` : `${(bytes / (1 << 30)).toFixed(2)} GiB`;
}
function share(hits, misses) {
  return hits + misses === 0 ? 'none asked for yet' : `${(100 * hits / (hits + misses)).toFixed(1)} % at hand`;
}
const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

// Asking the server.
let token = '';
async function ask(path, request) {
  const headers = { accept: 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  if (request) headers['content-type'] = 'application/json';
  const answer = await fetch(path, {
    method: request ? 'POST' : 'GET', headers, cache: 'no-store', redirect: 'error',
    body: request ? JSON.stringify(request) : undefined, signal: AbortSignal.timeout(10000),
  });
  id('token-form').hidden = answer.status !== 401;
  const text = await answer.text();
  if (!answer.ok) throw new Error(text.trim().slice(0, 500) || `answered with ${answer.status}`);
  return text;
}

// The watch.
let paused = false;
let timer = 0;
let answered = 0;
let samples = [];

async function watch() {
  clearTimeout(timer);
  if (!paused && !document.hidden) {
    try {
      const status = JSON.parse(await ask('/status'));
      answered = Date.now();
      show(status);
      await denials();
    } catch (error) {
      lost(error);
    }
  }
  timer = setTimeout(watch, samples.length < 2 ? 1000 : EVERY);
}

// Where they are not told, that is asked again now and then only.
let refusals = 0;
async function denials() {
  if (refusals > 0 && refusals++ % 20 !== 0) return;
  try {
    list(JSON.parse(await ask('/v1/denials')));
    refusals = 0;
  } catch (error) {
    refusals += refusals ? 0 : 1;
    list({ error: error.message });
  }
}

function lost(error) {
  badge('bad', 'no answer');
  const since = answered ? ` for ${span((Date.now() - answered) / 1000)}` : '';
  troubles([`There is no answer from the server${since}: ${error.message}`]);
}

function badge(tone, text) {
  id('state').className = `pill big ${tone}`;
  say('state', text);
  document.title = tone === 'good' ? 'Stagedoor' : `Stagedoor: ${text}`;
}

function troubles(texts) {
  const place = id('trouble');
  const key = texts.join('\n');
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.hidden = texts.length === 0;
  place.querySelector('ul').replaceChildren(...texts.map((text) => el('li', null, bdi(text))));
}

function show(status) {
  say('version', status.version);
  const partly = status.ready && status.pending.length > 0;
  badge(
    status.ready && !partly ? 'good' : partly ? 'near' : 'bad',
    partly ? 'ready, but not for everybody' : status.ready ? 'ready' : 'not ready',
  );
  troubles(status.pending);
  say('up', `Up for ${span(status.uptime_seconds)}, since ${new Date(status.started).toLocaleString()}.`);
  sample(status.decisions);
  reasons(status.decisions);
  parts(status);
}

// Rates are differences of counters. After a restart they begin anew.
function sample(decisions) {
  const now = {
    at: performance.now(), allow: sum(decisions.allow), deny: sum(decisions.deny),
    durations: decisions.durations,
  };
  const last = samples.at(-1);
  if (last && (now.allow < last.allow || now.deny < last.deny)) samples = [];
  samples.push(now);
  samples = samples.slice(-KEPT);
  const since = samples.at(-Math.min(samples.length, 6));
  const lately = (name) => {
    const seconds = (now.at - since.at) / 1000;
    return seconds > 0 ? (now[name] - since[name]) / seconds : null;
  };
  figure('allow-rate', rate(lately('allow')), '/s');
  figure('deny-rate', rate(lately('deny')), '/s');
  figure('half', ...[took(within(0.5))].flat());
  figure('most', ...[took(within(0.99))].flat());
  draw();
}

function figure(name, value, unit) {
  id(name).replaceChildren(String(value), ...(unit && value !== '–' ? [el('small', null, ` ${unit}`)] : []));
}

// The bound below which this share of the decisions of the last minutes was made; of all of
// them where there was none since.
function within(wanted) {
  const counts = (from) => samples.at(-1).durations.map((bucket, at) => ({
    bound: bucket.le_seconds, count: bucket.count - (from ? from.durations[at].count : 0),
  }));
  let buckets = counts(samples[0]);
  let all = buckets.reduce((all, bucket) => all + bucket.count, 0);
  if (all === 0) {
    buckets = counts(null);
    all = buckets.reduce((all, bucket) => all + bucket.count, 0);
  }
  let below = 0;
  for (const { bound, count } of buckets) {
    below += count;
    if (all > 0 && below >= wanted * all) return bound;
  }
  return null;
}

function draw() {
  const points = samples.slice(1).map((to, at) => {
    const from = samples[at];
    const seconds = (to.at - from.at) / 1000;
    return { at: to.at, allow: (to.allow - from.allow) / seconds, deny: (to.deny - from.deny) / seconds };
  });
  const most = Math.max(0, ...points.flatMap((point) => [point.allow, point.deny]));
  const step = 10 ** Math.floor(Math.log10(most || 1));
  const top = Math.max(1, Math.ceil(most / step) * step);
  const end = points.length ? points.at(-1).at : 0;
  // From one minute on it grows to five.
  const shown = Math.min(EVERY * (KEPT - 1), Math.max(60000, points.length ? end - samples[0].at : 0));
  const x = (point) => (600 - (end - point.at) / shown * 600).toFixed(1);
  const y = (value) => (119 - value / top * 117).toFixed(1);
  const line = (name) => points.map((point, at) => `${at ? 'L' : 'M'}${x(point)} ${y(point[name])}`).join('');
  const [allow, deny] = [line('allow'), line('deny')];
  id('allow-line').setAttribute('d', allow);
  id('deny-line').setAttribute('d', deny);
  id('allow-area').setAttribute('d', points.length > 1 ? `${allow}L600 119L${x(points[0])} 119Z` : '');
  say('begin', `${span(shown / 1000)} ago`);
  say('top', points.length ? `the top is ${number(top)}/s` : '');
  const last = points.at(-1);
  if (last) {
    id('spark').setAttribute('aria-label', `Decisions a second over the last minutes: now ${rate(last.allow)} let in and ${rate(last.deny)} denied, at most ${rate(most)}`);
  }
}

function reasons(decisions) {
  const rows = [
    ...ALLOWED.map((code) => ['allow', code, decisions.allow[code] || 0]),
    ...Object.entries(decisions.deny).map(([code, count]) => ['deny', code, count]),
  ].filter(([, , count]) => count > 0).sort((a, b) => b[2] - a[2]);
  const all = rows.reduce((all, [, , count]) => all + count, 0);
  say('total', many(all, 'decision'));
  const shown = rows.length > 8 ? rows.slice(0, 7) : rows;
  const rest = rows.slice(shown.length);
  if (rest.length) shown.push(['deny', `${rest.length} other reasons`, rest.reduce((all, [, , count]) => all + count, 0)]);
  id('reasons').replaceChildren(...shown.map(([outcome, code, count]) => {
    const bar = el('i');
    bar.style.width = `${100 * count / all}%`;
    return el('li', { class: outcome }, el('span', null, code), el('b', null, number(count)), el('span', { class: 'track', 'aria-hidden': 'true' }, bar));
  }), ...(rows.length ? [] : [el('li', { class: 'soft' }, 'none yet')]));
}

// What it depends on: a card each, made anew only where something in it changed.
const cards = new Map();
function parts(status) {
  const wanted = [
    ...status.keys.map(keys), catalog(status.catalog), policies(status.policies), graph(status.graph),
    tokens(status.tokens, status.revocations), audit(status.audit, status.log_lines_dropped), envoys(status.connections, status.decisions),
    checks(status.checks, status.tokens), ...status.certificates.map(certificate), collectors(status.exports), machine(status.process),
  ].filter((card) => card);
  const place = id('parts');
  const names = new Set(wanted.map((card) => card.name));
  for (const [name, kept] of cards) {
    if (!names.has(name)) {
      kept.node.remove();
      cards.delete(name);
    }
  }
  for (const card of wanted) {
    const key = JSON.stringify({ ...card, acts: undefined });
    let kept = cards.get(card.name);
    if (!kept) {
      kept = { node: el('article', { class: 'card part' }), key: '' };
      cards.set(card.name, kept);
      place.append(kept.node);
    }
    if (kept.key !== key) {
      kept.key = key;
      fill(kept.node, card);
    }
  }
}

function fill(node, card) {
  const open = node.querySelector('details')?.open;
  const focus = node.contains(document.activeElement) ? document.activeElement.dataset.act : undefined;
  node.replaceChildren(
    el('header', null, el('h3', null, card.title), el('span', { class: `pill ${card.tone}` }, card.state)),
    ...(card.what ? [el('p', { class: 'what' }, bdi(card.what))] : []),
    ...(card.error ? [el('p', { class: 'error' }, bdi(card.error))] : []),
    ...(card.held ? [heldNote(card.held)] : []),
    el('dl', { class: 'facts' }, card.facts.flatMap(([name, value]) => [el('dt', null, name), el('dd', null, bdi(value))])),
    ...(card.list ? [el('details', open ? { open: '' } : null, el('summary', { 'data-act': 'list' }, card.list.title), el('ul', null, card.list.items.map((item) => el('li', null, bdi(item)))))] : []),
    ...(card.acts ? [el('p', { class: 'acts' }, card.acts.map(([name, act]) => el('button', { type: 'button', 'data-act': name, onclick: act }, name)))] : []),
  );
  if (focus) node.querySelector(`[data-act="${CSS.escape(focus)}"]`)?.focus();
}

// A part of what there is of which it can be said that hardly any is left, as an alert does.
const NEARLY = 0.8;
const TONES = { fresh: 'good', stale: 'near', failing: 'near', throttled: 'near', expired: 'bad', initializing: 'bad' };

function keys(issuer) {
  return {
    name: `keys ${issuer.issuer}`, title: 'Signing keys', state: issuer.state, tone: TONES[issuer.state] || 'bad',
    what: issuer.issuer, error: issuer.last_error,
    facts: [
      ['keys', number(issuer.keys)],
      ['fetched', issuer.age_seconds === null ? 'never' : `${span(issuer.age_seconds)} ago`],
      ['next fetch', issuer.next_refresh_seconds === null ? 'now' : `in ${span(issuer.next_refresh_seconds)}`],
      ['version', (issuer.version || '–').slice(0, 12)],
    ],
  };
}

function catalog(catalog) {
  const found = Object.entries(catalog.findings).filter(([, count]) => count > 0);
  const all = found.reduce((all, [, count]) => all + count, 0);
  return {
    name: 'catalog', title: 'Catalog', tone: catalog.held && TONES[catalog.state] === 'good' ? 'near' : TONES[catalog.state] || 'bad',
    state: catalog.held ? `${catalog.state}, held back` : catalog.state,
    what: `${catalog.source.kind}: ${catalog.source.location}`,
    error: catalog.last_error && `${catalog.last_error.message} (${catalog.last_error.code})`,
    held: catalog.held,
    facts: [
      ['snapshot', catalog.age_seconds === null ? 'none' : `${span(catalog.age_seconds)} old, of at most ${span(catalog.max_age_seconds)}`],
      ['next crawl', catalog.next_refresh_seconds === null ? 'now' : `in ${span(catalog.next_refresh_seconds)}`],
      ['holds', `${many(catalog.entities, 'entity', 'entities')}, ${many(catalog.groups, 'group')}, ${many(catalog.users, 'user')}`],
      ['refreshes', `${number(catalog.refreshes)}, ${number(sum(catalog.failures))} failed`],
      ...(catalog.sharing ? [['this replica', catalog.sharing]] : []),
      ['version', (catalog.version || '–').slice(0, 12)],
    ],
    list: all > 0 ? {
      title: `${many(all, 'finding')}: ${found.map(([kind, count]) => `${count} ${kind}`).join(', ')}`,
      items: catalog.finding_examples.map((finding) => `${finding.entity}: ${finding.message}`),
    } : undefined,
    acts: [['Read it again now', refresh]],
  };
}

function policies(policies) {
  const failed = policies.errors.reduce((all, error) => all + error.count, 0);
  return {
    name: 'policies', title: 'Policies', state: policies.last_error ? 'change refused' : failed ? 'failing' : 'in force',
    tone: policies.last_error || failed ? 'near' : 'good', error: policies.last_error,
    facts: [
      ['policies', number(policies.policies)],
      ['since', new Date(policies.since).toLocaleString()],
      ['changes', `${number(policies.reloads)} taken over, ${number(policies.refused)} refused`],
      ['errors', failed ? policies.errors.map((error) => `${error.policy || 'others'}: ${number(error.count)}`).join(', ') : 'none'],
      ['in the shadow', policies.shadow.differences ? many(policies.shadow.differences, 'difference') : 'no differences'],
      ['answers', share(policies.cache.hits, policies.cache.misses)],
      ['version', policies.version.slice(0, 12)],
    ],
    list: policies.shadow.most.length ? {
      title: 'What the shadow would answer',
      items: policies.shadow.most.slice(0, 20).map((one) => `${one.would} ${one.entity} by ${one.policy || 'no policy'}: ${number(one.count)}`),
    } : undefined,
  };
}

function graph(graph) {
  if (!graph) return null;
  return {
    name: 'graph', title: 'Microsoft Graph', state: graph.lookups ? graph.state : 'not asked yet',
    tone: graph.lookups || graph.last_error ? TONES[graph.state] || 'near' : '', error: graph.last_error,
    facts: [
      ['lookups', `${number(graph.lookups)}, ${number(graph.failures)} failed`],
      ['under way', number(graph.under_way)],
      ['groups kept', `of ${many(graph.cache.entries, 'caller')}, ${size(graph.cache.bytes)}`],
      ['callers', share(graph.cache.hits, graph.cache.misses)],
    ],
  };
}

function tokens(tokens, revocations) {
  return {
    name: 'tokens', title: 'Tokens', state: revocations.current ? 'verified once' : 'revocations not read',
    tone: revocations.current ? 'good' : 'near', error: revocations.last_error,
    facts: [
      ['kept', `${number(tokens.cache.entries)}, ${size(tokens.cache.bytes)}`],
      ['callers', share(tokens.cache.hits, tokens.cache.misses)],
      ['verified', number(tokens.verified)],
      ['waiting', number(tokens.waiting)],
      ['turned away', number(tokens.turned_away + tokens.late)],
    ],
  };
}

function audit(audit, lines) {
  const lost = audit.dropped + audit.failed + (audit.otlp ? audit.otlp.dropped + audit.otlp.failed : 0);
  return {
    name: 'audit', title: 'Audit records', tone: lost ? 'bad' : audit.queue ? 'good' : '',
    state: lost ? `${number(lost)} lost` : audit.queue ? 'none lost' : 'off',
    facts: [
      ['written', number(audit.written)],
      ['waiting', audit.queue ? `${number(audit.queue.waiting)} of at most ${number(audit.queue.capacity)}` : '–'],
      ['lost', `${number(audit.dropped)} to a full queue, ${number(audit.failed)} to the sink`],
      ...(audit.otlp ? [['collector', `${number(audit.otlp.sent)} sent, ${number(audit.otlp.dropped + audit.otlp.failed)} lost`]] : []),
      ...(lines ? [['log lines lost', number(lines)]] : []),
    ],
  };
}

function envoys(connections, decisions) {
  const odd = connections.panics + decisions.guarded;
  const crowded = connections.open > NEARLY * connections.max;
  return {
    name: 'envoys', title: 'Envoys', tone: odd || crowded ? 'near' : connections.open ? 'good' : '',
    state: crowded ? 'nearly full' : connections.open ? 'connected' : 'none connected',
    facts: [
      ['connections', `${number(connections.open)} open, of at most ${number(connections.max)}`],
      ['so far', number(connections.accepted)],
      ['not begun', number(connections.preface_failures)],
      ['not accepted', number(connections.accept_errors)],
      ['guarded calls', number(decisions.guarded)],
      ...(connections.panics ? [['panics', number(connections.panics)]] : []),
    ],
  };
}

// Whether more were turned away within the last quarter of a minute. After a restart they are
// counted anew.
const LATELY = 15000;
let sheds = [];
function isShedding(count) {
  const now = performance.now();
  sheds = sheds.filter((one) => one.at >= now - LATELY && one.count <= count);
  sheds.push({ at: now, count });
  return count > sheds[0].count;
}

const CLASSES = { concurrency: 'beyond those that may wait', message: 'messages', new_token: 'new tokens' };

function checks(checks, tokens) {
  const shedding = isShedding(sum(checks.shed));
  const turned = Object.entries(checks.shed).filter(([, count]) => count > 0);
  const most = number(checks.max_concurrent);
  const [patience, unit] = took(checks.queue_timeout_seconds);
  return {
    name: 'checks', title: 'Checks', tone: shedding || checks.queued ? 'near' : 'good',
    state: shedding ? 'turned away' : checks.in_flight ? `${number(checks.in_flight)} waiting` : 'none waiting',
    error: shedding ? 'Checks are turned away with 503 (overloaded): more come than may wait.' : undefined,
    facts: [
      ['in their turn', `${number(checks.in_flight - checks.queued - checks.receiving)} of at most ${most}`],
      ['for a turn', `${number(checks.queued)} of at most ${most}, ${patience} ${unit} each`],
      ['on their way', `${number(checks.receiving)} of at most ${most}`],
      ['new tokens', `${number(tokens.waiting)} of at most ${number(tokens.max_waiting)}`],
      ['turned away', turned.length ? turned.map(([kind, count]) => `${number(count)} ${CLASSES[kind] || kind}`).join(', ') : 'none'],
    ],
  };
}

const SHOWN_BY = { grpc: 'gRPC', http: 'HTTP', admin: 'Admin', graph: 'Graph' };
const LASTS = { good: ['good', 'good'], ends_soon: ['near', 'ends soon'], near_end: ['bad', 'about to end'], expired: ['bad', 'expired'], unread: ['', 'not needed yet'] };
const DAY = 86400;

function certificate(one) {
  const left = one.left_seconds;
  const is_over = one.state === 'expired';
  const [lasts, words] = LASTS[one.state] || ['near', one.state];
  const tone = one.current || lasts === 'bad' ? lasts : 'near';
  const at = new Date(one.not_after);
  const when = left > 2 * DAY ? at.toLocaleDateString() : at.toLocaleString();
  const end = left === null ? 'not known yet' : `${is_over ? `${span(-left)} ago` : `in ${span(left)}`}, ${when}`;
  return {
    name: `certificate ${one.shown_by}`, title: `${SHOWN_BY[one.shown_by] || one.shown_by} certificate`, tone,
    state: is_over || one.current ? words : 'change refused', what: one.file, error: one.last_error,
    facts: [
      ['names', one.names.join(', ') || one.subject || '–'],
      [is_over ? 'ended' : 'ends', end],
      ...(one.since ? [['in use since', new Date(one.since).toLocaleString()]] : []),
      ['file read', one.age_seconds === null ? 'not yet' : `${span(one.age_seconds)} ago`],
      ...(one.handshake_failures ? [['no handshake', many(one.handshake_failures, 'connection')]] : []),
    ],
  };
}

const EXPORTED = { spans: 'spans', metrics: 'metrics', audit_records: 'audit records' };

function collectors(all) {
  if (!all.length) return null;
  const name = (one) => EXPORTED[one.what] || one.what;
  const failing = all.filter((one) => one.state === 'failing');
  const places = [...new Set(all.map((one) => `${one.endpoint} (${one.protocol})`))];
  const idle = all.every((one) => one.state === 'idle');
  const account = (one) => [
    one.age_seconds === null ? 'none sent' : `${number(one.sent)} sent, the last ${span(one.age_seconds)} ago`,
    ...(one.queued ? [`${number(one.queued)} waiting`] : []),
    ...(one.dropped + one.failed ? [`${number(one.dropped + one.failed)} lost`] : []),
  ].join('; ');
  return {
    name: 'collectors', title: places.length > 1 ? 'Collectors' : 'Collector', tone: failing.length ? 'near' : idle ? '' : 'good',
    state: failing.length ? 'failing' : idle ? 'nothing sent yet' : 'taking', what: places.join(', '),
    error: failing.length ? failing.map((one) => `${name(one)}: ${one.last_error}`).join('; ') : undefined,
    facts: all.map((one) => [name(one), account(one)]),
  };
}

function machine(process) {
  const { resident_bytes: memory, open_descriptors: open, max_descriptors: most, cpu_seconds: spent } = process;
  const known = (value, text) => value === null ? '–' : text(value);
  const crowded = open !== null && most !== null && open > NEARLY * most;
  return {
    name: 'process', title: 'Process', tone: crowded ? 'near' : '', state: crowded ? 'nearly out of descriptors' : known(memory, size),
    facts: [
      ['memory', known(memory, size)],
      ['descriptors', known(open, (open) => `${number(open)} open${known(most, (most) => `, of at most ${number(most)}`)}`)],
      ['processor', known(spent, (spent) => `${span(spent)} of its time so far`)],
    ],
  };
}

// Acting on the catalog.
function heldNote(held) {
  return el('div', { class: 'held' }, el('p', null, el('b', null, 'Held back: '), bdi(held.what)),
    el('button', { type: 'button', 'data-act': 'held', onclick: () => confirm(held) }, 'Look at it …'));
}

function tell(text, bad) {
  id('said').className = bad ? 'said bad' : 'said';
  say('said', clean(text));
}

async function refresh() {
  try {
    tell(await ask('/catalog/refresh', {}));
    setTimeout(watch, 500);
  } catch (error) {
    tell(error.message, true);
  }
}

function confirm(held) {
  const dialog = id('confirm');
  id('confirm-what').replaceChildren(bdi(held.what));
  id('confirm-id').replaceChildren(bdi(held.id));
  id('confirm-examples').replaceChildren(...held.examples.map((example) => el('li', null, bdi(example))));
  dialog.returnValue = 'no';
  dialog.onclose = async () => {
    if (dialog.returnValue !== 'yes') return;
    try {
      tell(await ask('/catalog/confirm', { id: held.id }));
      setTimeout(watch, 500);
    } catch (error) {
      tell(error.message, true);
    }
  };
  dialog.showModal();
}

// Denials: one that is open stays open.
const rows = new Map();
let everything = false;
function list(answer) {
  const denials = answer.denials || [];
  const place = id('denials');
  const wanted = new Set(denials.map((denial) => denial.decision_id));
  for (const [key, row] of rows) {
    if (!wanted.has(key)) {
      row.node.remove();
      rows.delete(key);
    }
  }
  for (const denial of [...denials].reverse()) {
    if (rows.has(denial.decision_id)) continue;
    const node = row(denial);
    rows.set(denial.decision_id, { node, at: Date.parse(denial.time), text: JSON.stringify(denial).toLowerCase() });
    place.prepend(node);
  }
  const none = answer.error ? clean(answer.error) : answer.recorded === false ? 'Decisions are not recorded (audit.to is off), so none is kept.' : 'None so far.';
  say('no-denials', none);
  tick();
  sift();
}

function row(denial) {
  const request = [denial.method, `${denial.host || ''}${denial.path || ''}`].filter(Boolean).join(' ');
  const line = request || 'the request is masked';
  const who = denial.principal;
  const facts = [
    ['why', [denial.reason, denial.status].filter(Boolean).join(', ')],
    ['detail', denial.detail],
    ['request', request],
    ['route', denial.route],
    ['entity', denial.entity],
    ['action', denial.action],
    ['caller', who ? `${who.kind} ${who.object} of ${who.tenant}` : 'nobody proven'],
    ['client', who && who.client],
    ['owners', (denial.owners || []).join(', ')],
    ['policies', (denial.policies || []).join(', ')],
    ['masked', (denial.masked || []).join(', ')],
    ['time', new Date(denial.time).toLocaleString()],
    ['decision', denial.decision_id],
  ].filter(([, value]) => value);
  const details = el('details', null,
    el('summary', null,
      el('span', { class: 'when' }, ''),
      el('span', { class: `why s${Number(denial.status) || 0}` }, denial.reason),
      el('span', { class: 'cut', title: clean(line) }, bdi(line)),
      el('span', { class: 'cut for soft' }, bdi(denial.entity || (who ? `${who.kind} ${who.object}` : 'nobody proven')))));
  // Most are never opened.
  details.addEventListener('toggle', () => {
    if (!details.open || details.children.length > 1) return;
    details.append(el('div', { class: 'more' },
      el('dl', { class: 'facts' }, facts.flatMap(([name, value]) => [el('dt', null, name), el('dd', null, bdi(value))])),
      el('button', { type: 'button', onclick: () => prepare(denial) }, 'Ask why …')));
  });
  return el('li', null, details);
}

function tick() {
  if (answered && !paused) say('updated', `as of ${span((Date.now() - answered) / 1000)} ago`);
  for (const { node, at } of rows.values()) {
    const place = node.querySelector('.when');
    const text = `${span((Date.now() - at) / 1000)} ago`;
    if (place.textContent !== text) place.textContent = text;
  }
}

function sift() {
  const words = id('find').value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { node, text } of rows.values()) {
    node.hidden = !words.every((word) => text.includes(word));
    shown += node.hidden ? 0 : 1;
  }
  if (rows.size && !shown) say('no-denials', 'None of them has these words.');
  id('no-denials').hidden = shown > 0;
  // What is looked for is shown wherever it stands.
  const all = words.length > 0 || everything;
  id('denials').classList.toggle('all', all);
  id('all').hidden = all || rows.size <= FIRST;
  say('all', `Show all ${rows.size}`);
}

// Explaining.
function prepare(denial) {
  const methods = [...id('method').options].map((option) => option.value);
  if (methods.includes(denial.method)) id('method').value = denial.method;
  id('host').value = denial.host || '';
  id('path').value = denial.path || '/';
  id('explain').scrollIntoView({ block: 'center' });
  id('authorization').focus({ preventScroll: true });
}

async function explain(event) {
  event.preventDefault();
  const field = (name) => id(name).value.trim();
  const given = field('authorization').replace(/\s+/g, ' ');
  const request = { method: field('method'), host: field('host'), path: field('path') };
  if (given) request.authorization = /^bearer /i.test(given) ? given : `Bearer ${given}`;
  if (field('justification')) request.justification = field('justification');
  if (field('source')) request.source_principal = field('source');
  if (field('destination')) request.destination_principal = field('destination');
  const extensions = field('extensions').split('\n').map((line) => line.split(/[:=](.*)/s)).filter(([key, value]) => key.trim() && value);
  if (extensions.length) request.context_extensions = Object.fromEntries(extensions.map(([key, value]) => [key.trim(), value.trim()]));
  const button = event.target.querySelector('button');
  button.disabled = true;
  const place = id('explanation');
  try {
    const told = JSON.parse(await ask('/v1/explain', request));
    place.replaceChildren(...explained(told));
  } catch (error) {
    place.replaceChildren(el('p', { class: 'error' }, bdi(error.message)));
  }
  button.disabled = false;
  place.focus({ preventScroll: true });
  if (place.getBoundingClientRect().top > innerHeight * 0.8) place.scrollIntoView({ block: 'start' });
}

const MARKS = { good: ['✓', 'for it'], bad: ['✗', 'against it'], near: ['≈', 'nearly'], plain: ['', ''] };

function explained(told) {
  const allowed = told.conclusion.decision === 'allow';
  const sections = told.sections.filter((section) => section.title !== 'decision');
  const last = sections.findIndex((section) => section.title === 'for an allow');
  // What would help is what people look for.
  if (last > 0) sections.unshift(...sections.splice(last, 1));
  const detail = told.conclusion.detail;
  return [
    el('p', { class: 'verdict' }, el('span', { class: `pill big ${allowed ? 'good' : 'bad'}` }, allowed ? 'let in' : 'denied'), el('code', null, told.conclusion.reason), bdi(told.conclusion.sentence)),
    ...(detail ? [el('p', { class: 'soft' }, bdi(detail))] : []),
    ...sections.flatMap((section) => [
      el('h3', null, section.title),
      el('ul', { class: 'lines' }, section.lines.map((line) => {
        const [mark, means] = MARKS[line.tone] || MARKS.plain;
        return el('li', { class: line.label ? line.tone : `${line.tone} only` },
          mark ? el('i', { role: 'img', 'aria-label': means }, mark) : el('i'),
          ...(line.label ? [el('span', { class: 'soft' }, bdi(line.label))] : []), el('span', { class: 'text' }, bdi(line.text)));
      })),
    ]),
  ];
}

id('explain').addEventListener('submit', explain);
id('find').addEventListener('input', sift);
id('all').addEventListener('click', () => {
  everything = true;
  sift();
  document.querySelector(`#denials li:nth-child(${FIRST + 1}) summary`)?.focus();
});
id('pause').addEventListener('click', (event) => {
  paused = !paused;
  event.target.setAttribute('aria-pressed', String(paused));
  if (paused) say('updated', 'paused');
  else watch();
});
id('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  token = id('token').value.trim();
  refusals = 0;
  watch();
});
document.addEventListener('visibilitychange', () => document.hidden || watch());
setInterval(tick, 1000);
watch();
})();
