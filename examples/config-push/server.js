// Only the page: what it shows is published by `publisher watch`, which runs beside (see `beside`).

import { serve } from "../serve.js";

serve({ page: new URL(".", import.meta.url) });
