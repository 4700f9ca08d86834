import "../../common/page.css";
import "./page.css";

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Restaurant } from "./Restaurant.jsx";

const root = document.body.appendChild(document.createElement("div"));
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={new QueryClient()}>
      <Restaurant />
    </QueryClientProvider>
  </StrictMode>,
);
