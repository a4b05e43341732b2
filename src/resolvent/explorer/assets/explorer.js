// What the page does by itself: keep sliders, boxes, address and tabs together, copy, and save pictures.
window.dash_clientside = window.dash_clientside || {};
(function () {
  const unchanged = () => window.dash_clientside.no_update;
  const context = () => window.dash_clientside.callback_context;
  const causes = () => context().triggered.map((one) => one.prop_id);

  const queries = {}; // of every panel that was shown
  let current = "";

  function remember() {
    const query = queries[current];
    if (query && query !== window.location.search) window.history.replaceState(null, "", query);
  }

  async function write(text) {
    if (navigator.clipboard && window.isSecureContext) {
      await navigator.clipboard.writeText(text);
      return true;
    }
    const area = document.createElement("textarea");
    area.value = text;
    document.body.appendChild(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }

  // a server that has ended is said on the page: figures would else stay as they are without a word
  const fetched = window.fetch;
  let said = "";
  window.fetch = async function (asked, ...rest) {
    const ours = String(asked.url || asked).includes("_dash-");
    const say = (text) => {
      if (!ours || text === said) return; // the first answers come before there is a page to say it on
      said = text;
      window.dash_clientside.set_props("unreachable", { children: text });
    };
    try {
      const answer = await fetched.call(window, asked, ...rest);
      say(answer.status < 500 ? "" : "The server failed on these values; what it printed says why.");
      return answer;
    } catch (error) {
      if (error.name !== "AbortError") {
        say("The server does not answer: start resolvent explore again, then reload this page. The address keeps the values.");
      }
      throw error;
    }
  };

  function place(point) {
    const delta = Math.min(4, Math.max(0.05, point.y));
    return { "pooled-signal": point.x.toFixed(3).replace(/0$/, ""), "pooled-delta": delta.toFixed(3) };
  }

  // a finger that moves on a figure scrolls the page, where Plotly would zoom
  document.addEventListener("touchstart", function (event) {
    if (event.target.closest && event.target.closest(".js-plotly-plot")) event.stopPropagation();
  }, { capture: true, passive: true });

  // a tap moves the point of the phase diagram: Plotly knows clicks of a mouse that hovered before
  document.addEventListener("click", function (event) {
    const graph = event.target.closest && event.target.closest("#pooled-phase-figure .js-plotly-plot");
    if (!graph || event.pointerType !== "touch") return;
    const area = graph.querySelector(".nsewdrag").getBoundingClientRect();
    const { clientX: x, clientY: y } = event;
    if (x < area.left || x > area.right || y < area.top || y > area.bottom) return; // an axis, or the scale of colours
    const { xaxis, yaxis } = graph._fullLayout;
    const point = { x: xaxis.p2d(x - area.left), y: yaxis.p2d(y - area.top) };
    window.dash_clientside.set_props("pooled-clicked", { data: place(point) });
  }, { capture: true });

  // tabs by the arrow keys, as readers of the screen announce them
  document.addEventListener("keydown", function (event) {
    if (event.target.getAttribute("role") !== "tab") return;
    const tabs = [...document.querySelectorAll("[role=tab]")];
    const at = tabs.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    tabs[to % tabs.length].focus();
    tabs[to % tabs.length].click();
  });

  // the button says what happened, and then its own name again
  async function told(id, text, name) {
    let done = false;
    try { done = await write(text); } catch (error) { done = false; }
    setTimeout(() => window.dash_clientside.set_props(id, { children: name }), 1500);
    return done ? "Copied" : "Not allowed by the browser";
  }

  window.dash_clientside.explorer = {
    follow: function (slider, box, clicked) {
      const [at, id] = context().outputs_list.map((one) => one.id);
      const why = causes();
      if (clicked && why.some((one) => one.endsWith("-clicked.data"))) return [clicked[id], clicked[id]];
      if (why.includes(at + ".value")) return [unchanged(), String(slider)];
      if (why.includes(id + ".value") && box !== "" && isFinite(box) && String(box) !== String(slider)) {
        return [String(box), unchanged()];
      }
      return [unchanged(), unchanged()];
    },
    click: function (data) {
      if (!data || !data.points || !data.points.length) return unchanged();
      return place(data.points[0]);
    },
    choose: function (address) {
      const pressed = causes().find((one) => one.endsWith("-tab.n_clicks"));
      if (pressed && context().triggered[0].value) return pressed.replace("-tab.n_clicks", "");
      return address ? address.tab : unchanged();
    },
    show: function (shown) {
      const ids = context().outputs_list.filter((one) => one.property === "hidden").map((one) => one.id);
      const names = ids.map((id) => id.replace("-panel", ""));
      if (!shown) return context().outputs_list.map(unchanged);
      current = shown;
      remember();
      return [
        ...names.map((name) => name !== shown),
        ...names.map((name) => (name === shown ? "model chosen" : "model")),
        ...names.map((name) => String(name === shown)),
      ];
    },
    remember: function (query) {
      if (query) queries[new URLSearchParams(query).get("tab")] = query;
      remember();
      return query || "";
    },
    copy: function (clicks, code) {
      return told(context().outputs_list.id, code, "Copy as Python");
    },
    link: function () {
      return told(context().outputs_list.id, window.location.href, "Copy link");
    },
    picture: function () {
      const pressed = causes()[0] || "";
      const found = pressed.match(/^(.*)-(png|svg)\.n_clicks$/);
      if (found && context().triggered[0].value) {
        const graph = document.querySelector("#" + found[1] + "-figure .js-plotly-plot");
        const options = { format: found[2], filename: "resolvent-" + found[1], width: 800, height: 500, scale: 2 };
        if (graph) window.Plotly.downloadImage(graph, options);
      }
      return unchanged();
    },
  };
})();
