import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { fetchConfig } from './api.ts';
import { App } from './app.tsx';
import './style.css';

const root = createRoot(document.getElementById('root') as HTMLElement);
fetchConfig().then(
  (config) =>
    root.render(
      <StrictMode>
        <App config={config} />
      </StrictMode>,
    ),
  (error: Error) =>
    root.render(
      <p className="error" role="alert">
        rowcast dev does not answer: {error.message}
      </p>,
    ),
);
