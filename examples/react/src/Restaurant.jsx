import { useMutation } from "@tanstack/react-query";

import { useTables } from "./useTables.js";

// What a table can be, and what a waiter or a cook does then.
const NEXT = { free: "Take an order", ordered: "Begin to cook", cooking: "It is ready", ready: "Serve it", served: "Clear the table" };
const WORDS = {
  connecting: "Connecting",
  live: "Live",
  waiting: "No connection, trying again",
  denied: "Signed out",
  refused: "Refused",
  closed: "Loading",
};

export function Restaurant() {
  const { data: tables = [], failureReason, connection } = useTables();
  const next = useMutation({ mutationFn: advance });
  const count = (state) => tables.filter((table) => table.state === state).length;

  return (
    <div className="page">
      <header>
        <img className="logo" src="/common/logo.svg" alt="" />
        <h1>Tables</h1>
        <p>What one page does, all pages see. Open this one twice.</p>
        <div id="state" className="state" data-state={connection.state} role="status">
          {WORDS[connection.state]}
        </div>
      </header>
      <main className="card">
        <ul className="counts">
          {Object.keys(NEXT).map((state) => (
            <li key={state} data-state={state}>
              <b>{count(state)}</b> {state}
            </li>
          ))}
        </ul>
        <p id="result" className="result" role="status">
          {(next.error ?? failureReason)?.message}
        </p>
        <ul className="tables">
          {tables.map((table) => (
            <Table key={table.id} {...table} onNext={() => next.mutate(table)} />
          ))}
        </ul>
      </main>
    </div>
  );
}

function Table({ id, state, dish, onNext }) {
  return (
    <li id={`table-${id}`} data-state={state}>
      <h2>Table {id}</h2>
      {/* Another key is another element, which begins the animation anew. */}
      <p key={state} className="step new">
        {state}
      </p>
      <p className="dish">{dish ?? "–"}</p>
      <button type="button" onClick={onNext}>
        {NEXT[state]}
        <span className="unseen">, table {id}</span>
      </button>
    </li>
  );
}

/** Changes nothing here: the event does, in this page as in all others. */
async function advance({ id, state }) {
  const answer = await fetch(`/tables/${id}/next`, { method: "POST", body: JSON.stringify({ from: state }) });
  if (!answer.ok) throw new Error((await answer.json()).detail);
}
