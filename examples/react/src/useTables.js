import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useFeed } from "postern-client/react";

const queryKey = ["tables"];

async function load({ signal }) {
  const answer = await fetch("/tables", { signal });
  if (!answer.ok) throw new Error(`the tables cannot be loaded: ${answer.status}`);
  return answer.json();
}

/** The list by a GET, and from then on each change by an event. */
export function useTables() {
  const cache = useQueryClient();
  // Events keep the list fresh, so nothing loads it again, such as a look at another window.
  const query = useQuery({ queryKey, queryFn: load, staleTime: Infinity });

  // Nothing is read before the list is there. The feed then begins with the newest event of each table, so what changed
  // since the GET is among them. `storage: null`, because the list is not kept over reloads either.
  const connection = useFeed("/push", query.data ? "tables.*" : null, {
    fold: "latest",
    storage: null,
    onEvent: ({ data: table }) =>
      cache.setQueryData(queryKey, (tables) => tables?.map((old) => (old.id === table.id ? table : old))),
    // Events wait until the list is loaded, so it cannot overtake them.
    onReset: () => cache.invalidateQueries({ queryKey }),
  });

  return { ...query, connection };
}
