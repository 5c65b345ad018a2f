// Linux-PAM (pam(3)) as far as a session needs it, looked up at run time: an agent that is not told to use PAM runs on hosts
// without it. The names and layouts are those of Linux-PAM's <security/pam_appl.h>, which are its binary interface.
#pragma once
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

struct muster_pam_message { int style; const char *text; };
struct muster_pam_response { char *text; int code; };
struct muster_pam_conversation {
    int (*converse)(int, const struct muster_pam_message **, struct muster_pam_response **, void *);
    void *data;
};

enum { MUSTER_PAM_TTY = 3, MUSTER_PAM_RHOST = 4, MUSTER_PAM_RUSER = 8 };
enum { MUSTER_PAM_ESTABLISH = 2, MUSTER_PAM_DELETE = 4 };

struct muster_pam {
    int (*start)(const char *, const char *, const struct muster_pam_conversation *, void **);
    int (*end)(void *, int);
    int (*set_item)(void *, int, const void *);
    int (*put_environment)(void *, const char *);
    int (*account)(void *, int);
    int (*credentials)(void *, int);
    int (*open_session)(void *, int);
    int (*close_session)(void *, int);
    char **(*environment)(void *);
    const char *(*describe)(void *, int);
};

// 0, or -1 when there is no libpam here or it lacks a function.
static inline int muster_pam_load(struct muster_pam *pam) {
    void *library = dlopen("libpam.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) return -1;
    *(void **)&pam->start = dlsym(library, "pam_start");
    *(void **)&pam->end = dlsym(library, "pam_end");
    *(void **)&pam->set_item = dlsym(library, "pam_set_item");
    *(void **)&pam->put_environment = dlsym(library, "pam_putenv");
    *(void **)&pam->account = dlsym(library, "pam_acct_mgmt");
    *(void **)&pam->credentials = dlsym(library, "pam_setcred");
    *(void **)&pam->open_session = dlsym(library, "pam_open_session");
    *(void **)&pam->close_session = dlsym(library, "pam_close_session");
    *(void **)&pam->environment = dlsym(library, "pam_getenvlist");
    *(void **)&pam->describe = dlsym(library, "pam_strerror");
    return pam->start && pam->end && pam->set_item && pam->put_environment && pam->account && pam->credentials && pam->open_session
            && pam->close_session && pam->environment && pam->describe ? 0 : -1;
}

// Nobody is asked anything: the operator has proven who he is to the controller. Messages are passed over, questions fail.
static inline int muster_pam_converse(int count, const struct muster_pam_message **messages, struct muster_pam_response **responses, void *data) {
    (void)data;
    for (int i = 0; i < count; i++)
        if (messages[i]->style == 1 /* PAM_PROMPT_ECHO_OFF */ || messages[i]->style == 2 /* PAM_PROMPT_ECHO_ON */) return 19 /* PAM_CONV_ERR */;
    *responses = (struct muster_pam_response *)calloc((size_t)count, sizeof **responses);
    return *responses ? 0 : 5 /* PAM_BUF_ERR */;
}

static inline int muster_pam_begin(const struct muster_pam *pam, const char *service, const char *user, void **handle) {
    static const struct muster_pam_conversation conversation = {muster_pam_converse, NULL};
    return pam->start(service, user, &conversation, handle);
}
