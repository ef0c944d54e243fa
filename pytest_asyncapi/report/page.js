"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { kinds, texts } = data;
  const main = document.getElementById("tests");
  const find = document.getElementById("find");
  const outcome = document.getElementById("outcome");
  const order = document.getElementById("order");
  const FIRST = 200; // tests that are put into the page at once
  const OPENED = 3; // failing tests that are open from the start
  const ROW = 18; // pixels of a row of bars
  const ROWS = 8;
  const FAILING = ["failed", "error"];

  const tests = data.tests.map((raw, index) => ({
    index, name: raw.n, outcome: raw.o, took: raw.s, worker: raw.w || "", message: raw.m || "", sections: raw.x || [],
    phases: raw.p || [], counts: raw.c, leftOut: raw.l || 0, total: raw.c.reduce((sum, each) => sum + each, 0),
    events: (raw.e || []).map(([kind, at, took, label, result, detail, bad]) => ({
      kind, at, took, label: texts[label], result: texts[result || 0], detail: texts[detail || 0], bad: Boolean(bad),
    })),
  }));

  // ---- small helpers

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  function time(ms) {
    if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
    if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
    if (ms >= 10) return `${ms.toFixed(0)} ms`;
    return ms >= 1 ? `${ms.toFixed(1)} ms` : `${ms.toFixed(2)} ms`;
  }

  const swatch = (kind) => element("i", { class: kinds[kind], "aria-hidden": "true" });
  const singular = ["request", "query", "Redis command", "upstream call", "block"];
  const plural = ["requests", "queries", "Redis commands", "upstream calls", "blocks"];
  const counted = (kind, count) => `${count} ${count === 1 ? singular[kind] : plural[kind]}`;

  // ---- the list

  function split(name) {
    const at = name.indexOf("::");
    return at < 0 ? ["", name] : [name.slice(0, at), name.slice(at + 2)];
  }

  /** The whole test in one line: a gradient, for two thousand of them are on the page. */
  function strip(test) {
    const end = span(test);
    if (!test.events.length || !end) return "none";
    const bad = test.events.filter((each) => each.bad);
    return [bad, test.events].filter((events) => events.length).map((events) => gradient(events, end)).join(", ");
  }

  function gradient(events, end) {
    const parts = [];
    let reached = 0;
    for (const each of events) {
      const from = Math.max((each.at / end) * 100, reached);
      const to = Math.min(Math.max(((each.at + (each.took || 0)) / end) * 100, from + 1.5), 100);
      if (to <= from) continue;
      const colour = `var(--${each.bad ? "block" : kinds[each.kind]})`;
      parts.push(`transparent ${reached.toFixed(1)}% ${from.toFixed(1)}%`, `${colour} ${from.toFixed(1)}% ${to.toFixed(1)}%`);
      reached = to;
      if (parts.length > 160) break;
    }
    return `linear-gradient(90deg, ${parts.join(", ")}, transparent ${reached.toFixed(1)}%)`;
  }

  function span(test) {
    const ends = test.events.map((each) => each.at + (each.took || 0));
    const phases = test.phases.map(([, begin, took]) => begin + took);
    return Math.max(0, ...phases, ...ends);
  }

  function row(test) {
    const [folder, name] = split(test.name);
    const tally = element("span", { class: "tally" });
    test.counts.forEach((count, kind) => {
      if (count) {
        tally.append(element("span", { title: counted(kind, count) }, swatch(kind), String(count),
          element("span", { class: "hidden" }, ` ${count === 1 ? singular[kind] : plural[kind]}`)));
      }
    });
    const line = element("span", { class: "strip", "aria-hidden": "true" });
    line.style.backgroundImage = strip(test);
    const summary = element("summary", {},
      element("span", { class: "state" }, test.outcome),
      element("span", { class: "title" }, element("b", {}, name), folder ? element("span", {}, folder) : null),
      tally, line, element("span", { class: "took" }, time(test.took)));
    const made = element("details", { class: `test ${test.outcome}`, id: `t${test.index}` }, summary);
    made.addEventListener("toggle", () => {
      if (made.open && made.children.length === 1) made.append(body(test));
    });
    return made;
  }

  function fits(test, words) {
    if (outcome.value && test.outcome !== outcome.value) return false;
    if (!words.length) return true;
    if (test.haystack === undefined) {
      test.haystack = [test.name, test.message, ...test.events.map((each) => `${each.label} ${each.result}`)]
        .join("\n").toLowerCase();
    }
    return words.every((word) => test.haystack.includes(word));
  }

  const ORDERS = {
    slow: (a, b) => b.took - a.took,
    events: (a, b) => b.total - a.total,
    name: (a, b) => a.name.localeCompare(b.name),
  };

  function show(all) {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = tests.filter((test) => fits(test, words));
    if (ORDERS[order.value]) shown.sort(ORDERS[order.value]);
    const first = all ? shown : shown.slice(0, FIRST);
    main.replaceChildren(...first.map(row));
    if (first.length < shown.length) {
      const more = element("button", { type: "button", class: "more" }, `Show the other ${shown.length - first.length} tests`);
      more.addEventListener("click", () => {
        show(true);
        main.children[FIRST].querySelector("summary").focus();
      });
      main.append(more);
    }
    document.getElementById("none").hidden = shown.length > 0 || !tests.length;
    const some = shown.length < tests.length;
    document.getElementById("shown").textContent = some ? `${shown.length} of ${tests.length} tests` : `${tests.length} tests`;
    return shown;
  }

  // ---- one test

  function body(test) {
    const made = element("div", { class: "body" });
    if (test.message) {
      const failing = FAILING.includes(test.outcome);
      made.append(element("pre", { class: failing ? "message" : "reason", tabindex: "0", "aria-label": failing ? "failure" : "reason" },
        test.message));
    }
    made.append(timeline(test));
    for (const [title, text] of test.sections) {
      made.append(element("details", {}, element("summary", {}, title),
        element("pre", { class: "section", tabindex: "0", "aria-label": title }, text)));
    }
    return made;
  }

  function timeline(test) {
    const made = element("div");
    if (!test.phases.length && !test.events.length) {
      made.append(element("p", { class: "empty" }, "This test has not run to its end, so there is no timeline of it."));
      return made;
    }
    const call = test.phases.find(([name]) => name === "call");
    const whole = [0, span(test) || 1];
    const ofCall = call && call[2] > 0 ? [call[1], call[1] + call[2]] : null;
    const inCall = ofCall && test.events.some((each) => each.at >= ofCall[0] && each.at <= ofCall[1]);
    const bar = element("div", { class: "bar" }, element("h3", {}, "Timeline"));
    const place = element("div");
    const buttons = [];
    function draw(range) {
      place.replaceChildren(lanes(test, range));
      for (const [button, of] of buttons) button.setAttribute("aria-pressed", String(of === range));
    }
    if (ofCall) {
      const group = element("span", { class: "group", role: "group", "aria-label": "what to show" });
      for (const [name, range] of [["whole test", whole], ["the call alone", ofCall]]) {
        const button = element("button", { type: "button" }, name);
        button.addEventListener("click", () => draw(range));
        buttons.push([button, range]);
        group.append(button);
      }
      bar.append(group);
    }
    const facts = test.phases.map(([name, , took]) => `${name} ${time(took)}`);
    if (test.worker) facts.push(`worker ${test.worker}`);
    bar.append(element("span", { class: "quiet" }, facts.join(" · ")));
    made.append(bar, place);
    draw(inCall && whole[1] > 3 * (ofCall[1] - ofCall[0]) ? ofCall : whole);
    return made;
  }

  /** Rows for bars that overlap: each goes into the first row that is free. */
  function stacked(events, range) {
    const least = (range[1] - range[0]) * 0.007;
    const ends = [];
    return events.map((each) => {
      let at = ends.findIndex((end) => end <= each.at);
      if (at < 0) at = ends.length < ROWS ? ends.length : ends.indexOf(Math.min(...ends));
      ends[at] = each.at + Math.max(each.took || 0, least);
      return at;
    });
  }

  function ticks(range) {
    const whole = range[1] - range[0];
    const rough = whole / 6;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((each) => each * unit).find((each) => each >= rough);
    const digits = step < 1 ? Math.ceil(-Math.log10(step)) : 0;
    const made = element("div", { class: "ticks", "aria-hidden": "true" });
    for (let at = 0; at < whole * 0.96; at += step) {
      const tick = element("span", {}, whole >= 5000 ? `${(at / 1000).toFixed(step < 1000 ? 1 : 0)} s` : `${at.toFixed(digits)} ms`);
      tick.style.left = `${(at / whole) * 100}%`;
      made.append(tick);
    }
    return made;
  }

  /** Between the phases pytest itself works: it renders the failure, above all. */
  function withGaps(phases) {
    const found = [];
    for (const [name, begin, took] of phases) {
      const last = found[found.length - 1];
      if (last && begin - (last[1] + last[2]) > 1) found.push(["pytest", last[1] + last[2], begin - last[1] - last[2]]);
      found.push([name, begin, took]);
    }
    return found;
  }

  function lanes(test, range) {
    const made = element("div");
    const whole = range[1] - range[0];
    const percent = (at) => ((at - range[0]) / whole) * 100;
    const events = test.events.filter((each) => each.at + (each.took || 0) >= range[0] && each.at <= range[1]);
    const line = element("div", { class: "line", tabindex: events.length ? "0" : undefined, role: "group",
      "aria-label": `Timeline of ${events.length} events. The arrow keys go from one to the next.` });
    const phases = element("div", { class: "phases" });
    for (const [name, begin, took] of withGaps(test.phases)) {
      const from = Math.max(percent(begin), 0);
      const to = Math.min(percent(begin + took), 100);
      if (to <= from) continue;
      const part = element("span", { class: name, title: `${name}: ${time(took)}` }, to - from > 6 ? name : "");
      part.style.left = `${from}%`;
      part.style.width = `${to - from}%`;
      phases.append(part);
    }
    line.append(phases);
    const marks = new Map();
    kinds.forEach((kind, number) => {
      const mine = events.filter((each) => each.kind === number);
      if (!mine.length) return;
      const rows = stacked(mine, range);
      const bars = element("div", { class: `bars ${kind}` });
      bars.style.height = `${(Math.max(...rows) + 1) * ROW + 6}px`;
      bars.style.position = "relative";
      mine.forEach((each, index) => {
        const kindOf = each.took === null ? (kind === "request" || kind === "upstream" ? " open" : " moment") : "";
        const mark = element("span", { class: `ev${kindOf}${each.bad ? " bad" : ""}`,
          title: [each.label, each.result, each.took === null ? "" : time(each.took)].filter(Boolean).join(" · ") });
        const from = Math.max(percent(each.at), 0);
        mark.style.left = `min(${from.toFixed(3)}%, 100% - 4px)`;
        mark.style.top = `${rows[index] * ROW + 5}px`;
        if (!kindOf) mark.style.width = `${Math.max(Math.min(percent(each.at + each.took), 100) - from, 0).toFixed(3)}%`;
        if (kindOf === " open") mark.style.width = "24px";
        mark.addEventListener("mouseenter", () => look(each));
        mark.addEventListener("click", () => look(each, true));
        marks.set(each, mark);
        bars.append(mark);
      });
      line.append(element("div", { class: `lane ${kind}` }, element("span", { class: "label" }, swatch(number), data.lanes[number]), bars));
    });
    line.append(ticks(range));
    if (!events.length) {
      const why = test.total ? "Nothing happened in this part of the test." :
        "No request, SQL, Redis command or upstream call was made through the harness in this test.";
      made.append(line, element("p", { class: "quiet" }, why));
      return made;
    }

    // -- the event that is looked at, and the list of all
    const now = element("div", { class: "now quiet", "aria-live": "polite" }, "Point at a bar, or focus the timeline and use the arrow keys.");
    const table = element("tbody");
    const lines = new Map();
    for (const each of events) {
      const cells = [
        element("td", { class: "n" }, time(Math.max(each.at - range[0], 0))),
        element("td", { class: "kind" }, swatch(each.kind), singular[each.kind]),
        element("td", { class: "n" }, each.took === null ? "" : time(each.took)),
        element("td", {}, element("code", {}, each.label)),
        element("td", { class: each.bad ? "bad" : "" }, each.result),
      ];
      const tr = element("tr", {}, ...cells);
      tr.addEventListener("click", () => look(each));
      lines.set(each, tr);
      table.append(tr);
    }
    let current = null;
    function look(each, scroll) {
      if (current) {
        marks.get(current).classList.remove("at");
        lines.get(current).classList.remove("at");
      }
      current = each;
      marks.get(each).classList.add("at");
      lines.get(each).classList.add("at");
      now.className = `now ${kinds[each.kind]}`;
      const facts = [each.result, each.took === null ? "" : `took ${time(each.took)}`, `at ${time(Math.max(each.at, 0))}`];
      now.replaceChildren(element("code", {}, each.label), "\n", element("b", {}, singular[each.kind]),
        ` ${facts.filter(Boolean).join(" · ")}`, each.detail ? `\n${each.detail}` : "");
      if (scroll && details.open) lines.get(each).scrollIntoView({ block: "nearest" });
    }
    line.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const at = current ? events.indexOf(current) : step > 0 && step !== Infinity ? -1 : events.length;
      look(events[Math.min(Math.max(at + step, 0), events.length - 1)], true);
    });
    const head = ["at", "what", "took", "", "outcome"].map((name, index) => element("th", { class: index === 0 || index === 2 ? "n" : "" }, name));
    const details = element("details", {}, element("summary", {}, events.length === 1 ? "The event as text" : `All ${events.length} events as a list`),
      element("div", { class: "events", tabindex: "0", role: "region", "aria-label": "events" },
        element("table", {}, element("thead", {}, element("tr", {}, ...head)), table)));
    const wrong = events.find((each) => each.bad);
    if (wrong) look(wrong);
    made.append(line, now, details);
    if (test.leftOut) made.append(element("p", { class: "quiet" }, `${test.leftOut} more events, from the middle of the test, are left out of this page.`));
    return made;
  }

  // ---- the controls

  let later = 0;
  find.addEventListener("input", () => {
    clearTimeout(later);
    later = setTimeout(() => show(), 120);
  });
  outcome.addEventListener("change", () => show());
  order.addEventListener("change", () => show());
  find.form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("reset").addEventListener("click", () => {
    find.value = outcome.value = "";
    show();
    find.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      find.focus();
    }
  });

  const shown = show();
  shown.filter((test) => FAILING.includes(test.outcome)).slice(0, OPENED).forEach((test) => {
    document.getElementById(`t${test.index}`).open = true;
  });
  if (tests.length === 1) document.getElementById("t0").open = true;
})();
